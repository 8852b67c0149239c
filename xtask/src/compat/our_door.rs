//! Stock clients through our broker's listeners with TLS, client certificates and SCRAM: a user is
//! made by kafka-configs; Java, Python and kcat send and read; who may not come in is told why.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::broker::{Broker, free_address};
use super::lab::{LIMIT, Trial};
use super::record::{Ack, Record, lines_of, read_lines};
use super::secured::Authority;
use super::workload::motley;
use crate::failure::{Outcome, ensure};
use crate::process::{self, Finished};

const RECORDS: usize = 40;

/// The broker, its ports and the files that clients are given.
struct Door {
    broker: Broker,
    mutual: u16,
    secure: u16,
    authority: PathBuf,
    own: PathBuf,
}

pub(crate) fn lets_stock_clients_in(trial: &Trial) -> Outcome<String> {
    let door = Door::make(trial)?;
    door.make_user(trial)?;
    let mut shown = Vec::new();
    for (name, settings) in [("java", door.java("alice-secret")), ("python", door.python())] {
        let program = || match name {
            "java" => trial.tools().java("Peer"),
            _ => trial.tools().python(),
        };
        door.round(trial, name, &program, &settings)
            .map_err(|failure| failure.while_doing(name))?;
        shown.push(name);
    }
    door.java_by_certificate(trial)?;
    door.kcat(trial)?;
    door.wrong_password(trial)?;
    Ok(format!(
        "kafka-configs made a user; SASL_SSL with SCRAM-SHA-512 by {}; mTLS by java, kcat; a wrong \
         password is named",
        shown.join(", ")
    ))
}

impl Door {
    fn make(trial: &Trial) -> Outcome<Self> {
        let authority = Authority::new("ours")?;
        let broker_store = trial.write("broker.pem", &authority.sign("localhost")?)?;
        let own = trial.write("own.pem", &authority.sign("alice")?)?;
        let authority = trial.write("authority.pem", &authority.pem())?;
        let (mutual, secure) = (free_address()?.port(), free_address()?.port());
        let settings = [
            format!(
                "listeners=PLAINTEXT://{{listener}},MUTUAL://127.0.0.1:{mutual},\
                 SECURE://127.0.0.1:{secure}"
            ),
            format!("advertised.listeners=MUTUAL://localhost:{mutual},SECURE://localhost:{secure}"),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,MUTUAL:SSL,SECURE:SASL_SSL"
                .to_owned(),
            format!("ssl.keystore.location={}", broker_store.display()),
            format!("ssl.truststore.location={}", authority.display()),
            "listener.name.mutual.ssl.client.auth=required".to_owned(),
            "num.partitions=6".to_owned(),
        ];
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let broker = trial.own_broker(&settings)?;
        Ok(Self { broker, mutual, secure, authority, own })
    }

    fn make_user(&self, trial: &Trial) -> Outcome<()> {
        let run = |arguments: &[&str]| -> Outcome<String> {
            let mut tool = trial.tools().java("kafka.admin.ConfigCommand")?;
            tool.args(["--bootstrap-server", &self.broker.bootstrap()]).args(arguments);
            tool.args(["--entity-type", "users", "--entity-name", "alice"]);
            Ok(process::run_ok(&mut tool, b"", LIMIT)?.text())
        };
        run(&["--alter", "--add-config", "SCRAM-SHA-512=[password=alice-secret]"])?;
        let described = run(&["--describe"])?;
        ensure!(described.contains("SCRAM-SHA-512=iterations=4096"), "described as {described}");
        ensure!(!described.contains("secret"), "a secret is shown: {described}");
        Ok(())
    }

    /// Sends records and reads them back.
    fn round(
        &self,
        trial: &Trial,
        name: &str,
        program: &dyn Fn() -> Outcome<Command>,
        settings: &[String],
    ) -> Outcome<()> {
        let topic = trial.topic(name);
        let records = motley(&topic, RECORDS);
        let file = trial.write(&format!("{name}.tsv"), &lines_of(&records))?;
        let servers = format!("localhost:{}", self.secure);
        let mut send = program()?;
        send.args(["produce", &servers]).arg(file).args(settings);
        let acks = read_lines(&run(&mut send)?.text(), Ack::from_line)?;
        ensure!(acks.len() == RECORDS, "{} of {RECORDS} were acknowledged", acks.len());
        let mut read = program()?;
        read.args(["consume", &servers]).args(settings).arg(&topic);
        let read = read_lines(&run(&mut read)?.text(), Record::from_line)?;
        let values = |records: &[Record]| {
            let mut values: Vec<_> = records.iter().map(|record| record.value.clone()).collect();
            values.sort();
            values
        };
        ensure!(values(&read) == values(&records), "{} records came back, or others", read.len());
        Ok(())
    }

    fn java_by_certificate(&self, trial: &Trial) -> Outcome<()> {
        let settings = [
            "security.protocol=SSL".to_owned(),
            "ssl.truststore.type=PEM".to_owned(),
            format!("ssl.truststore.location={}", self.authority.display()),
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.location={}", self.own.display()),
        ];
        let servers = format!("localhost:{}", self.mutual);
        let mut read = trial.tools().java("Peer")?;
        read.args(["consume", &servers]).args(settings).arg(trial.topic("java"));
        let read = read_lines(&run(&mut read)?.text(), Record::from_line)?;
        ensure!(read.len() == RECORDS, "{} of {RECORDS} came back by mTLS", read.len());
        Ok(())
    }

    /// By certificate: the librdkafka of Debian's kcat says the nonce of SCRAM wrongly
    /// (compat/FINDINGS.md).
    fn kcat(&self, trial: &Trial) -> Outcome<()> {
        let topic = trial.topic("kcat");
        let own = path(&self.own);
        let settings = [
            "security.protocol=SSL".to_owned(),
            format!("ssl.ca.location={}", path(&self.authority)),
            format!("ssl.certificate.location={own}"),
            format!("ssl.key.location={own}"),
        ];
        let command = |arguments: &[&str]| -> Outcome<Command> {
            let mut kcat = trial.tools().kcat()?;
            kcat.args(["-b", &format!("localhost:{}", self.mutual), "-t", &topic]);
            for setting in &settings {
                kcat.args(["-X", setting]);
            }
            kcat.args(arguments);
            Ok(kcat)
        };
        process::run_ok(&mut command(&["-P", "-p", "0"])?, b"one\ntwo\n", LIMIT)?;
        let read = run(&mut command(&["-C", "-q", "-e", "-o", "beginning"])?)?.text();
        ensure!(read == "one\ntwo\n", "kcat read {read:?}");
        Ok(())
    }

    fn wrong_password(&self, trial: &Trial) -> Outcome<()> {
        let file = trial.write("wrong.tsv", &lines_of(&motley(&trial.topic("java"), 1)))?;
        let mut send = trial.tools().java("Peer")?;
        send.args(["produce", &format!("localhost:{}", self.secure)]).arg(file);
        send.args(self.java("wrong"));
        let finished = process::run(&mut send, b"", LIMIT)?;
        let said = finished.all_text();
        let is_named = said.contains("Authentication failed: invalid credentials");
        ensure!(!finished.status.success() && is_named, "a wrong password was told as {said}");
        Ok(())
    }

    fn java(&self, password: &str) -> Vec<String> {
        vec![
            "security.protocol=SASL_SSL".to_owned(),
            "ssl.truststore.type=PEM".to_owned(),
            format!("ssl.truststore.location={}", path(&self.authority)),
            "sasl.mechanism=SCRAM-SHA-512".to_owned(),
            format!(
                "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
                 username=\"alice\" password=\"{password}\";"
            ),
        ]
    }

    /// As librdkafka takes them.
    fn python(&self) -> Vec<String> {
        vec![
            "security.protocol=SASL_SSL".to_owned(),
            format!("ssl.ca.location={}", path(&self.authority)),
            "sasl.mechanism=SCRAM-SHA-512".to_owned(),
            "sasl.username=alice".to_owned(),
            "sasl.password=alice-secret".to_owned(),
        ]
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn run(command: &mut Command) -> Outcome<Finished> {
    process::run_ok(command, b"", LIMIT)
}
