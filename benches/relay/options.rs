//! What can be asked for on the command line.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

/// CPU per message, connection and request, and the cost of idle connections: Perennial, nginx, HAProxy.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// A short run, to see that it works; its numbers mean little.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only the cells whose name contains this, in capitals or not.
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Only these programs.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) programs: Vec<Program>,
    /// Connections of an idle cell, 9000 at most [default: 2000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=9000))]
    pub(crate) idle: Option<u32>,
    /// How often each proxy has its turn [default: 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) repeats: Option<u32>,
    /// Writes the raw numbers, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Writes docs/benchmarks.md and its picture, too; it takes a whole run.
    #[arg(long, conflicts_with_all = ["quick", "only", "programs"])]
    pub(crate) docs: bool,
    /// Another Perennial than the one that was just built.
    #[arg(long, overrides_with = "perennial", value_name = "FILE", default_value = env!("CARGO_BIN_EXE_perennial"), hide_default_value = true)]
    pub(crate) perennial: PathBuf,
    /// A Perennial of before a change: it has its turns in the same run.
    #[arg(long, value_name = "FILE", conflicts_with = "docs")]
    pub(crate) before: Option<PathBuf>,
    /// Said by `cargo bench`, and by nobody else.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

/// What this program is as a child of itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    #[command(hide = true)]
    Upstream {
        /// Where the certificates are put.
        directory: PathBuf,
    },
    #[command(hide = true)]
    Load {
        /// Where the certificates are.
        directory: PathBuf,
    },
}

/// A program that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
pub(crate) enum Program {
    Nginx,
    Haproxy,
    /// Perennial as it was, if `--before` names it.
    Before,
    Perennial,
}

impl Program {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Before => "before",
            Self::Perennial => "Perennial",
        }
    }
}

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    pub(crate) repeats: u32,
    /// Connections of an idle cell, and how long they have been idle when memory is read.
    pub(crate) idle: u32,
    pub(crate) rest: Duration,
    /// How long CPU of idle connections is read: as long as Perennial's default keepalive.
    pub(crate) keepalive: Duration,
}

impl Options {
    pub(crate) fn pace(&self) -> Pace {
        let (warm_up, window, repeats, idle, rest, keepalive) =
            if self.quick { (50, 150, 1, 100, 200, 500) } else { (300, 1000, 3, 2000, 2000, 10_000) };
        Pace {
            warm_up: Duration::from_millis(warm_up),
            window: Duration::from_millis(window),
            repeats: self.repeats.unwrap_or(repeats),
            idle: self.idle.unwrap_or(idle),
            rest: Duration::from_millis(rest),
            keepalive: Duration::from_millis(keepalive),
        }
    }

    /// The command that was given, without the paths of this machine.
    pub(crate) fn command(&self) -> String {
        let mut command = "benches/run".to_owned();
        let numbers = [("--idle", self.idle), ("--repeats", self.repeats)];
        for (option, number) in numbers {
            command += &number.map(|number| format!(" {option} {number}")).unwrap_or_default();
        }
        if self.docs { command + " --docs" } else { command }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|part| name.to_lowercase().contains(&part.to_lowercase()))
    }

    /// Who is measured; the last is compared with each of the others.
    pub(crate) fn contenders(&self) -> impl Iterator<Item = Program> {
        const ALL: [Program; 4] = [Program::Nginx, Program::Haproxy, Program::Before, Program::Perennial];
        let is_wanted = |program: &Program| match program {
            Program::Before => self.before.is_some(),
            Program::Nginx | Program::Haproxy | Program::Perennial => {
                self.programs.is_empty() || self.programs.contains(program)
            }
        };
        ALL.into_iter().filter(is_wanted)
    }

    /// The Perennial that stands for this program.
    pub(crate) fn perennial(&self, program: Program) -> &Path {
        let before = self.before.as_deref().filter(|_| program == Program::Before);
        before.unwrap_or(&self.perennial)
    }
}
