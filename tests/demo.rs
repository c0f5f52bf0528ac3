//! The demo as a user starts it, in real time: that it keeps what it promises is what it is for.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
    command.arg("demo").args(arguments).stdin(Stdio::null()).env_remove("PERENNIAL_LOG");
    command
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

#[test]
fn the_contrast_holds() {
    let output = demo(&["--for", "13s", "--token-lifetime", "4s", "--plain"]).output().unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    for words in [
        "without  connected to the service",
        "with     connected to perennial",
        "without  the service closed the connection: token expired (40142)",
        "the connection stayed up (2)",
        "without perennial: dropped after 4.",
        "with perennial: never dropped; token refreshed ",
        " 0 lost, 0 doubled, 0 out of order",
        "perennial run",
    ] {
        assert!(said.contains(words), "{words} in\n{said}");
    }
    assert!(!said.contains('\x1b'), "plain is plain");
}

#[test]
fn ctrl_c_is_a_good_end() {
    let mut child = demo(&[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("connected to perennial") {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "it ended of its own accord");
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    assert!(rest.contains("never dropped") && rest.contains("perennial run"), "{rest}");
}

#[test]
fn a_demo_that_could_show_nothing_is_refused() {
    let output = demo(&["--for", "5s"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(said(&output).contains("--for must be"), "{}", said(&output));
}
