//! The binary: see [`perennial::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    perennial::cli::main()
}
