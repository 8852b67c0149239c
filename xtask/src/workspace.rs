//! Where the workspace is and what cargo knows of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::failure::{Failure, Outcome};
use crate::process;

/// The parts of `cargo metadata` that the chores read.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    pub(crate) resolve: Resolve,
    pub(crate) target_directory: PathBuf,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a manifest; `kind` is `None` for normal ones, else `dev` or `build`.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Edge {
    pub(crate) pkg: String,
    pub(crate) dep_kinds: Vec<EdgeKind>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct EdgeKind {
    pub(crate) kind: Option<String>,
}

impl Metadata {
    /// Asks cargo, with the lock file as it is and for this machine's platform alone: what other
    /// platforms need was perhaps never downloaded.
    pub(crate) fn load() -> Outcome<Self> {
        let mut command = cargo();
        command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform"]);
        command.arg(host()?).current_dir(root());
        let finished = process::run_ok(&mut command, b"", Duration::from_secs(120))?;
        Ok(serde_json::from_slice(&finished.stdout)?)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|p| self.workspace_members.contains(&p.id))
    }
}

/// The cargo that runs us, so that a toolchain chosen on its command line stays chosen.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn host() -> Outcome<String> {
    let mut rustc = Command::new("rustc");
    let said = process::run_ok(rustc.arg("-vV"), b"", Duration::from_secs(60))?.text();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::new(format!("rustc names no host: {said}")))
}

/// The root of the tree these chores were built from.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Every file that is tracked or would be, relative to the root.
pub(crate) fn files() -> Outcome<Vec<PathBuf>> {
    let mut command = Command::new("git");
    command
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root());
    let finished = process::run_ok(&mut command, b"", Duration::from_secs(60))?;
    let mut files: Vec<PathBuf> = finished
        .text()
        .split('\0')
        .filter(|name| !name.is_empty() && root().join(name).is_file())
        .map(PathBuf::from)
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}
