//! The Dockerfile: linted, its context enough to build from, and what the last stage says.

use std::{fs, process::Command};

use crate::deploy::tools::{path, perennial, read, run, tool};

/// The instructions of the last stage, its continued lines joined.
fn last_stage() -> Vec<String> {
    let text = read("deploy/Dockerfile");
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let (_, stage) = joined.rsplit_once("FROM ").unwrap();
    stage.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
#[ignore = "needs hadolint: tests/deploy/install"]
fn the_dockerfile_has_no_fault() {
    let ended = run(tool("hadolint").args(["--failure-threshold", "style", "deploy/Dockerfile"]), "");
    assert_eq!(ended.expected("hadolint"), "");
}

#[test]
fn the_image_is_the_program_alone() {
    let stage = last_stage();
    let of = |instruction: &str| {
        let found: Vec<_> = stage.iter().filter_map(|line| line.strip_prefix(instruction)).collect();
        assert_eq!(found.len(), 1, "{instruction}: {stage:?}");
        found[0].to_owned()
    };
    assert_eq!(stage[0], "scratch");
    assert_eq!(of("USER "), "65532:65532");
    assert_eq!(of("ENTRYPOINT "), r#"["/usr/bin/perennial"]"#);
    assert_eq!(of("CMD "), r#"["run"]"#);
    assert_eq!(of("EXPOSE "), "7370 7371");
    assert!(of("HEALTHCHECK ").ends_with(r#"CMD ["/usr/bin/perennial", "probe", "ready"]"#));
    let certificates =
        "COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt";
    assert!(stage.iter().any(|line| line == certificates));
    assert!(!stage.iter().any(|line| line.starts_with("RUN ")), "there is nothing to run it");
}

/// Another image under the same tag would be another compiler, and nobody would see it.
#[test]
fn each_base_is_what_its_digest_says() {
    let text = read("deploy/Dockerfile");
    assert!(!text.starts_with("# syntax="), "a reader that a tag names");
    for base in text.lines().filter_map(|line| line.strip_prefix("FROM ")).filter(|base| *base != "scratch") {
        let name = base.split(' ').next().unwrap_or_default();
        let (tag, digest) = name.split_once("@sha256:").expect("a digest");
        assert!(tag.contains(':') && !tag.contains('$'), "{tag}");
        assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{digest}");
    }
}

/// The commands that deployments call.
#[test]
#[ignore = "needs the release binary: tests/all"]
fn the_commands_of_the_deployments_are_there() {
    for command in
        [&["run"][..], &["check"], &["probe"], &["status"], &["demo", "service"], &["demo", "client"]]
    {
        run(Command::new(perennial()).args(command).arg("--help"), "").expected(&command.join(" "));
    }
}

#[test]
#[ignore = "needs cargo: tests/all"]
fn what_is_sent_to_the_builder_is_enough_and_no_more() {
    let text = read("deploy/Dockerfile.dockerignore");
    let rules: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(rules[0], "*");
    let context = tempfile::tempdir().unwrap();
    let copied = read("deploy/Dockerfile");
    for name in rules[1..].iter().map(|rule| rule.strip_prefix('!').unwrap()) {
        let is_copied =
            copied.lines().any(|line| line.starts_with("COPY ") && line.split([' ', '/']).any(|w| w == name));
        assert!(is_copied, "{name} is sent, and not used");
        run(Command::new("cp").arg("-r").arg(path(name)).arg(context.path()), "").expected(name);
    }
    // It reads the whole manifest, and says what is missing.
    let host = run(Command::new("rustc").args(["--print", "host-tuple"]), "").expected("rustc");
    let mut command = Command::new("cargo");
    command.args(["fetch", "--locked", "--offline", "--target", host.trim()]).current_dir(context.path());
    run(&mut command, "").expected("the manifest");
    // And whatever is embedded in the program.
    for file in sources(&context.path().join("src")) {
        let source = fs::read_to_string(&file).unwrap();
        for embedded in source.split("include_str!(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(file.with_file_name(embedded).exists(), "{}: {embedded}", file.display());
        }
    }
}

fn sources(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let rust = files.into_iter().filter(|file| file.extension().is_some_and(|it| it == "rs"));
    rust.chain(directories.iter().flat_map(|directory| sources(directory))).collect()
}
