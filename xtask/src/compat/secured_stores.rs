//! Certificates of the scenario `secured` that change while a producer runs, and Java's own stores,
//! which are refused with the commands that convert them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use streamledger::{Admin, AdminConfig, Producer, ProducerConfig, ProducerRecord, Properties};

use super::lab::{LIMIT, Trial};
use crate::failure::{Failure, Outcome, ensure};
use crate::process;

/// A connection that is not used for so long is closed, and the next one reads the files.
const IDLE: Duration = Duration::from_millis(300);

/// Keystores of Java want six characters at least.
const STORE_PASSWORD: &str = "store secret";

/// A producer by mTLS, whose file is replaced by a stranger's certificate, which the broker
/// refuses, and by a new one of the authority that it trusts.
///
/// `settings` are those of mTLS without the keystore's location.
pub(super) fn are_read_again(
    trial: &Trial,
    settings: &str,
    topic: &str,
    [own, strangers, renewed]: [&str; 3],
) -> Outcome<()> {
    let file = trial.directory.join("changing.pem");
    let put = |pem: &str| -> Outcome<()> {
        let new = trial.write("changing.new", pem)?;
        Ok(std::fs::rename(new, &file)?)
    };
    put(own)?;
    let properties = Properties::parse(settings)?
        .with("ssl.keystore.location", file.display().to_string())
        .with("request.timeout.ms", "4000")
        .with("default.api.timeout.ms", "8000");
    let of_producer = properties
        .clone()
        .with("connections.max.idle.ms", IDLE.as_millis().to_string())
        .with("delivery.timeout.ms", "5000")
        .with("max.block.ms", "5000");
    let producer = Producer::new(ProducerConfig::from_properties(&of_producer)?)?;
    let send = || -> Outcome<()> {
        producer.send(ProducerRecord::to(topic).value(b"changing"))?.wait()?;
        Ok(())
    };
    sends_until("it is in", send, Result::is_ok)?;
    put(strangers)?;
    sends_until("it is refused", send, Result::is_err)?;
    let admin = Admin::new(AdminConfig::from_properties(&properties)?)?;
    let said = admin.describe_cluster().err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(said.contains("certificate"), "a stranger's certificate was told as: {said:?}");
    put(renewed)?;
    sends_until("it is in again", send, Result::is_ok)
}

/// Sends records, each by a connection of its own, until one ends as it is wanted to.
fn sends_until(
    goal: &str,
    send: impl Fn() -> Outcome<()>,
    is_wanted: fn(&Outcome<()>) -> bool,
) -> Outcome<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let sent = send();
        if is_wanted(&sent) {
            return Ok(());
        }
        let told = sent.err().map_or_else(|| "sent".to_owned(), |failure| failure.to_string());
        ensure!(Instant::now() < deadline, "not yet: {goal}; the last record: {told}");
        thread::sleep(IDLE * 3);
    }
}

/// Stores as `keytool` makes them are refused; the commands of the refusal are run as they are
/// printed, and the settings given that go in by what comes of them.
///
/// `settings` are those of mTLS without stores.
pub(super) fn are_converted(
    trial: &Trial,
    settings: &str,
    own: &Path,
    authority: &Path,
) -> Outcome<Vec<(String, String)>> {
    let kinds = ["JKS", "PKCS12"];
    thread::scope(|scope| {
        let made = kinds.map(|kind| {
            // Users have such directories.
            let directory = trial.directory.join(format!("stores of {kind}"));
            scope.spawn(move || {
                let stores = Stores { kind, directory };
                stores.make(own, authority)?;
                stores.converted(settings)
            })
        });
        let panicked = |_| Failure::new("a conversion panicked");
        let ended = made.into_iter().zip(kinds).map(|(made, kind)| {
            let settings = made.join().map_err(panicked)?;
            Ok((kind.to_owned(), settings.map_err(|failure| failure.while_doing(kind))?))
        });
        ended.collect()
    })
}

/// A truststore and a keystore of one of Java's kinds.
struct Stores {
    kind: &'static str,
    directory: PathBuf,
}

impl Stores {
    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    fn make(&self, own: &Path, authority: &Path) -> Outcome<()> {
        std::fs::create_dir_all(&self.directory)?;
        let (kind, password) = (self.kind, STORE_PASSWORD);
        let (trust, key, packed) = (self.path("trust"), self.path("key"), self.path("packed"));
        let passed = format!("pass:{password}");
        let mut keytool = Command::new("keytool");
        keytool.args(["-importcert", "-noprompt", "-alias", "ca", "-storetype", kind]);
        keytool.args(["-keystore", &trust, "-storepass", password, "-file"]).arg(authority);
        process::run_ok(&mut keytool, b"", LIMIT)?;
        let mut openssl = Command::new("openssl");
        openssl.args(["pkcs12", "-export", "-name", "alice", "-passout", &passed, "-in"]);
        process::run_ok(openssl.arg(own).args(["-out", &packed]), b"", LIMIT)?;
        let mut keytool = Command::new("keytool");
        keytool.args(["-importkeystore", "-srckeystore", &packed, "-srcstorepass", password]);
        keytool.args(["-destkeystore", &key, "-deststoretype", kind, "-deststorepass", password]);
        process::run_ok(&mut keytool, b"", LIMIT).map(drop)
    }

    /// Takes the way that the refusals of both stores show.
    fn converted(&self, settings: &str) -> Outcome<String> {
        let location =
            |store: &str, name: &str| format!("ssl.{store}.location={}\n", self.path(name));
        let of_java = |store: &str, name: &str| {
            let (kind, location) = (self.kind, location(store, name));
            format!("ssl.{store}.type={kind}\n{location}ssl.{store}.password={STORE_PASSWORD}\n")
        };
        let (trust, key) = (of_java("truststore", "trust"), of_java("keystore", "key"));
        self.runs_what_is_said(&format!("{settings}{trust}{key}"))?;
        let trust =
            format!("ssl.truststore.type=PEM\n{}", location("truststore", "truststore.pem"));
        self.runs_what_is_said(&format!("{settings}{trust}{key}"))?;
        let key = format!("ssl.keystore.type=PEM\n{}", location("keystore", "keystore.pem"));
        Ok(format!("{settings}{trust}{key}ssl.key.password={STORE_PASSWORD}\n"))
    }

    fn runs_what_is_said(&self, settings: &str) -> Outcome<()> {
        let refused = ProducerConfig::from_properties(&Properties::parse(settings)?);
        let said = match refused {
            Ok(_) => return Err(Failure::new(format!("taken: {settings}"))),
            Err(error) => error.to_string(),
        };
        ensure!(said.contains(&format!(" is {}, ", self.kind)), "refused as: {said}");
        let commands = said.split_once("convert it: ").and_then(|(_, way)| {
            let (commands, _) = way.split_once("; then set ")?;
            Some(commands)
        });
        let commands = commands.ok_or_else(|| Failure::new(format!("no command in: {said}")))?;
        // One by one: the first would read what is typed for the second. Without a terminal, they
        // ask on their standard input.
        for command in commands.split(" && ") {
            let mut shell = Command::new("setsid");
            shell.args(["--wait", "sh", "-c", command]).current_dir(&self.directory);
            let typed = format!("{STORE_PASSWORD}\n").repeat(3);
            process::run_ok(&mut shell, typed.as_bytes(), LIMIT)?;
        }
        Ok(())
    }
}
