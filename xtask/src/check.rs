//! `cargo xtask check`: all that CI runs, each step with its time, failing if any step failed.

use std::process::Command;
use std::time::Instant;

use clap::Args;

use crate::failure::{Failure, Outcome};
use crate::{compat, dependencies, layering, process, tidy, workspace};

#[derive(Args)]
pub(crate) struct Options {
    /// Leave the compat run out (it needs Java, Maven, Go, Python and kcat).
    #[arg(long)]
    no_compat: bool,
}

/// One step: its name and how it is carried out.
struct Step {
    name: &'static str,
    carry_out: fn() -> Outcome<()>,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", carry_out: || cargo(&["fmt", "--all", "--check"]) },
    Step { name: "tidy", carry_out: tidy::check },
    Step { name: "layering", carry_out: layering::check },
    Step { name: "dependencies", carry_out: dependencies::check },
    Step { name: "clippy", carry_out: clippy },
    Step { name: "aws-lc", carry_out: aws_lc },
    Step { name: "fuzz", carry_out: fuzz },
    Step { name: "test", carry_out: || cargo(&["test", "--workspace"]) },
    Step { name: "loom", carry_out: loom },
    Step { name: "doc", carry_out: doc },
    Step { name: "compat", carry_out: || compat::run(&compat::Options::default()) },
];

/// Runs every step, also after one has failed, and closes with a line that counts them.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    let mut summary = Vec::new();
    let mut failed = 0;
    for step in STEPS.iter().filter(|step| !(options.no_compat && step.name == "compat")) {
        println!("==> {}", step.name);
        let start = Instant::now();
        let result = (step.carry_out)();
        let seconds = start.elapsed().as_secs_f64();
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        if let Err(failure) = result {
            failed += 1;
            println!("{failure}");
        }
        println!("<== {} {word}, {seconds:.1} s\n", step.name);
        summary.push(format!("{:<14}{word:<8}{seconds:>7.1} s", step.name));
    }
    println!("{}\n", summary.join("\n"));
    println!("check: {} passed, {failed} failed", summary.len() - failed);
    if failed == 0 { Ok(()) } else { Err(Failure::new(format!("{failed} steps failed"))) }
}

fn clippy() -> Outcome<()> {
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

/// The client over the other cryptography that it can be built with.
fn aws_lc() -> Outcome<()> {
    let features = ["--no-default-features", "--features", "aws-lc-rs"];
    cargo(&[&["check", "-p", "streamledger"], &features[..]].concat())
}

/// The fuzz targets are outside of the workspace: they must still compile.
fn fuzz() -> Outcome<()> {
    cargo(&["check", "--manifest-path", "fuzz/Cargo.toml", "--locked"])
}

/// Every interleaving of the accumulator's locks. In a target directory of its own: `--cfg loom` is
/// another build of everything.
pub(crate) fn loom() -> Outcome<()> {
    let mut command = workspace::cargo();
    command
        .args(["test", "-p", "streamledger-client-core", "--lib", "--target-dir", "target/loom"])
        .args(["--", "loom_"])
        .env("RUSTFLAGS", "--cfg loom");
    succeed(&mut command)
}

fn doc() -> Outcome<()> {
    let mut command = workspace::cargo();
    command.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    succeed(&mut command)
}

fn cargo(arguments: &[&str]) -> Outcome<()> {
    succeed(workspace::cargo().args(arguments))
}

fn succeed(command: &mut Command) -> Outcome<()> {
    if process::show(command.current_dir(workspace::root()))? {
        Ok(())
    } else {
        Err(Failure::new("see above"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn steps_have_names_of_their_own() {
        let names: BTreeSet<&str> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), STEPS.len());
    }
}
