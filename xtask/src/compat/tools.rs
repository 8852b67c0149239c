//! The peers' programs: found, fetched or built once, and kept under `target/compat`.

use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::apache::Release;
use crate::failure::{Failure, Outcome, ensure};
use crate::{process, workspace};

/// Fetching and building may wait for a registry.
const PREPARE_LIMIT: Duration = Duration::from_secs(600);

/// A tool that is prepared when it is first asked for; a failure is kept and told each time.
type Prepared = OnceCell<Result<PathBuf, String>>;

pub(crate) struct Tools {
    /// Where everything fetched and built is kept.
    cache: PathBuf,
    given_binary: Option<PathBuf>,
    /// Of each release, in the order of [`Release::ALL`].
    jars: [Prepared; Release::ALL.len()],
    /// The empty data directory of a single node of each release.
    data: [Prepared; Release::ALL.len()],
    classes: Prepared,
    python: Prepared,
    go: Prepared,
    kcat: Prepared,
    streamledger: Prepared,
}

impl Tools {
    /// `streamledger` is our binary; without it the release build is made and used.
    pub(crate) fn new(target: &Path, streamledger: Option<PathBuf>) -> Self {
        let prepared = OnceCell::new;
        Self {
            cache: target.join("compat"),
            given_binary: streamledger,
            jars: std::array::from_fn(|_| prepared()),
            data: std::array::from_fn(|_| prepared()),
            classes: prepared(),
            python: prepared(),
            go: prepared(),
            kcat: prepared(),
            streamledger: prepared(),
        }
    }

    /// A Java program with Apache Kafka's jars, and ours beside them, on its class path.
    pub(crate) fn java(&self, class: &str) -> Outcome<Command> {
        match class {
            "Peer" | "AdminPeer" | "GroupPeer" | "MemberPeer" | "ToolBox" | "WordCount" => {
                self.java_with_ours(class)
            }
            _ => self.kafka(Release::V4_3, class),
        }
    }

    /// A Java program that finds our classes: the peer, or a broker with our plug-in.
    pub(crate) fn java_with_ours(&self, class: &str) -> Outcome<Command> {
        let jars = self.jars(Release::V4_3)?;
        let mut class_path = jars.join("*").into_os_string();
        class_path.push(":");
        class_path.push(get(&self.classes, || self.compile_ours(jars))?);
        Ok(java(Release::V4_3, &class_path, class))
    }

    /// A program of a release of Apache Kafka: its broker, or what the broker needs.
    pub(crate) fn kafka(&self, release: Release, class: &str) -> Outcome<Command> {
        Ok(java(release, self.jars(release)?.join("*").as_os_str(), class))
    }

    fn jars(&self, release: Release) -> Outcome<&PathBuf> {
        get(&self.jars[release as usize], || self.fetch_jars(release))
    }

    /// The data directory of a node that was never started, made once in this run.
    pub(crate) fn data_of(
        &self,
        release: Release,
        make: impl FnOnce(&Path) -> Outcome<()>,
    ) -> Outcome<&PathBuf> {
        get(&self.data[release as usize], || {
            let data = self.cache.join("run").join(format!("data-{release:?}"));
            make(&data)?;
            Ok(data)
        })
    }

    /// `compat/python/peer.py` in its own environment.
    pub(crate) fn python(&self) -> Outcome<Command> {
        let mut command = Command::new(get(&self.python, || self.make_python())?);
        command.arg(compat().join("python/peer.py"));
        Ok(command)
    }

    pub(crate) fn go(&self) -> Outcome<Command> {
        Ok(Command::new(get(&self.go, || self.build_go())?))
    }

    pub(crate) fn kcat(&self) -> Outcome<Command> {
        let path = get(&self.kcat, || {
            process::run_ok(Command::new("kcat").arg("-V"), b"", PREPARE_LIMIT)?;
            Ok("kcat".into())
        })?;
        Ok(Command::new(path))
    }

    pub(crate) fn streamledger(&self) -> Outcome<Command> {
        Ok(Command::new(get(&self.streamledger, || self.build_streamledger())?))
    }

    /// What was really used, for the table.
    pub(crate) fn version(&self, peer: &str) -> String {
        self.try_version(peer).unwrap_or_else(|_| "?".to_owned())
    }

    fn try_version(&self, peer: &str) -> Outcome<String> {
        let mut command = match peer {
            "java" => {
                return version_of_jar(self.jars(Release::V4_3)?);
            }
            "python" => self.python()?,
            "franz-go" => self.go()?,
            "kcat" => {
                let said = process::run_ok(self.kcat()?.arg("-V"), b"", PREPARE_LIMIT)?.text();
                return Ok(kcat_version(&said));
            }
            _ => return Ok(env!("CARGO_PKG_VERSION").to_owned()),
        };
        let said = process::run_ok(command.arg("version"), b"", PREPARE_LIMIT)?;
        Ok(said.text().trim().to_owned())
    }

    fn fetch_jars(&self, release: Release) -> Outcome<PathBuf> {
        let (pom, jars) = (compat().join(release.pom()), self.cache.join(release.directory()));
        up_to_date(&jars, &[&pom], || {
            let mut maven = Command::new("mvn");
            maven.args(["-q", "-B", "-f"]).arg(&pom).arg("dependency:copy-dependencies");
            maven.arg("-DincludeScope=runtime");
            maven.arg(format!("-DoutputDirectory={}", jars.display()));
            process::run_ok(&mut maven, b"", PREPARE_LIMIT).map(drop)
        })?;
        Ok(jars)
    }

    fn compile_ours(&self, jars: &Path) -> Outcome<PathBuf> {
        let names = [
            "Peer",
            "AdminPeer",
            "GroupPeer",
            "MemberPeer",
            "TelemetryReceiver",
            "ToolBox",
            "WordCount",
        ];
        let sources = names.map(|name| compat().join(format!("java/{name}.java")));
        let classes = self.cache.join("kafka/classes");
        up_to_date(&classes, &sources.each_ref().map(PathBuf::as_path), || {
            let mut javac = Command::new("javac");
            javac
                .args(["-Xlint:-removal", "-d"])
                .arg(&classes)
                .arg("-cp")
                .arg(jars.join("*"))
                .args(&sources);
            process::run_ok(&mut javac, b"", PREPARE_LIMIT).map(drop)
        })?;
        Ok(classes)
    }

    fn make_python(&self) -> Outcome<PathBuf> {
        let requirements = compat().join("python/requirements.txt");
        let environment = self.cache.join("python");
        let python = environment.join("bin/python");
        up_to_date(&environment, &[&requirements], || {
            let mut venv = Command::new("python3");
            venv.args(["-m", "venv"]).arg(&environment);
            process::run_ok(&mut venv, b"", PREPARE_LIMIT)?;
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "-r"]).arg(&requirements);
            process::run_ok(&mut pip, b"", PREPARE_LIMIT).map(drop)
        })?;
        Ok(python)
    }

    fn build_go(&self) -> Outcome<PathBuf> {
        let directory = compat().join("go");
        let sources = ["main.go", "group.go", "process.go", "go.mod", "go.sum"]
            .map(|name| directory.join(name));
        let made = self.cache.join("go");
        let program = made.join("peer");
        up_to_date(&made, &sources.each_ref().map(PathBuf::as_path), || {
            let mut go = Command::new("go");
            go.arg("build").arg("-o").arg(&program).arg(".").current_dir(&directory);
            process::run_ok(&mut go, b"", PREPARE_LIMIT).map(drop)
        })?;
        Ok(program)
    }

    fn build_streamledger(&self) -> Outcome<PathBuf> {
        if let Some(given) = &self.given_binary {
            ensure!(given.is_file(), "{} is no file", given.display());
            return Ok(std::path::absolute(given)?);
        }
        let mut cargo = workspace::cargo();
        cargo.args(["build", "--release", "--quiet"]).current_dir(workspace::root());
        ensure!(process::show(&mut cargo)?, "cargo build --release failed");
        let target = self.cache.parent().unwrap_or(Path::new("target"));
        Ok(target.join("release/streamledger"))
    }
}

/// A Java program with that class path, which logs as its release does.
fn java(release: Release, class_path: &OsStr, class: &str) -> Command {
    let mut command = Command::new("java");
    // One compiler and one collector: these programs live for seconds.
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m"]);
    let (setting, file) = if release.has_log4j2() {
        ("-Dlog4j2.configurationFile=", "java/log4j2.properties")
    } else {
        ("-Dlog4j.configuration=file:", "java/log4j.properties")
    };
    let mut logging = OsString::from(setting);
    logging.push(compat().join(file));
    command.arg(logging);
    if release.needs_zookeeper() {
        // It would ask log4j for classes that reload4j left out.
        command.arg("-Dzookeeper.jmx.log4j.disable=true");
    }
    command.arg("-cp").arg(class_path).arg(class);
    command
}

fn get(prepared: &Prepared, make: impl FnOnce() -> Outcome<PathBuf>) -> Outcome<&PathBuf> {
    let result = prepared.get_or_init(|| make().map_err(|failure| failure.to_string()));
    result.as_ref().map_err(Failure::new)
}

fn compat() -> PathBuf {
    workspace::root().join("compat")
}

/// Makes `directory` anew unless it was made, to the end, from sources that read as now.
fn up_to_date(
    directory: &Path,
    sources: &[&Path],
    make: impl FnOnce() -> Outcome<()>,
) -> Outcome<()> {
    let mut now = String::new();
    for source in sources {
        now.push_str(&std::fs::read_to_string(source)?);
    }
    let stamp = directory.join(".made-from");
    if std::fs::read_to_string(&stamp).is_ok_and(|then| then == now) {
        return Ok(());
    }
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    std::fs::create_dir_all(directory)?;
    make()?;
    Ok(std::fs::write(stamp, now)?)
}

fn version_of_jar(jars: &Path) -> Outcome<String> {
    for entry in std::fs::read_dir(jars)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let version = name.strip_prefix("kafka-clients-").and_then(|n| n.strip_suffix(".jar"));
        if let Some(version) = version {
            return Ok(version.to_owned());
        }
    }
    Err(Failure::new("no kafka-clients jar"))
}

/// `1.7.1 (librdkafka 2.0.2)` from `Version 1.7.1 (JSON, ..., librdkafka 2.0.2 builtin...)`.
fn kcat_version(said: &str) -> String {
    let word_after = |marker: &str| {
        let (_, rest) = said.split_once(marker)?;
        rest.split_whitespace().next()
    };
    let version = word_after("Version ").unwrap_or("?");
    format!("{version} (librdkafka {})", word_after("librdkafka ").unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_once_per_reading_of_its_sources() {
        let scratch = tempfile::tempdir().unwrap();
        let (source, made) = (scratch.path().join("source"), scratch.path().join("made"));
        let mut times = 0;
        for text in ["one", "one", "two"] {
            std::fs::write(&source, text).unwrap();
            up_to_date(&made, &[&source], || {
                times += 1;
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(times, 2);
    }

    #[test]
    fn a_failed_making_is_tried_again_by_the_next_run() {
        let scratch = tempfile::tempdir().unwrap();
        let (source, made) = (scratch.path().join("source"), scratch.path().join("made"));
        std::fs::write(&source, "one").unwrap();
        assert!(up_to_date(&made, &[&source], || Err(Failure::new("no registry"))).is_err());
        let mut tried = false;
        up_to_date(&made, &[&source], || {
            tried = true;
            Ok(())
        })
        .unwrap();
        assert!(tried);
    }

    #[test]
    fn kcat_tells_both_versions() {
        let said =
            "kcat\nVersion 1.7.1 (JSON, Transactions, librdkafka 2.0.2 builtin.features=gzip)";
        assert_eq!(kcat_version(said), "1.7.1 (librdkafka 2.0.2)");
    }
}
