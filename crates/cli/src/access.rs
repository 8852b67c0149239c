//! Getting to a broker: the one that was named, the `serve` that holds the data directory, or an
//! embedded one started in it.

use std::thread;
use std::time::{Duration, Instant};

use streamledger::{Admin, AdminConfig, Properties};
use streamledger_broker::storage::StorageError;
use streamledger_broker::{
    Broker, BrokerConfig, ConfigError, RunningBroker, StartError, StopError,
};

use crate::args::BrokerArguments;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::ui;

/// A free port, for this machine only.
const ANY_PORT: &str = "127.0.0.1:0";

/// How long a broker that holds the directory may take to say where it listens.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked for.
const LOCK_LOOK: Duration = Duration::from_millis(50);

/// How long it may take to answer where it listens. One that only who has logged in may ask
/// doesn't, and who was killed listens for a moment longer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// What to do when the data directory isn't there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingDirectory {
    /// Make it: the command is going to write.
    Create,
    /// Say so: there is nothing to read.
    Refuse,
}

/// A broker to talk to. An embedded one runs as long as this lives.
#[derive(Debug)]
pub struct Access {
    /// The addresses to connect to first.
    pub bootstrap_servers: String,
    /// Where the broker is, in words.
    pub place: String,
    /// Keeps an embedded broker running.
    embedded: Option<RunningBroker>,
}

impl Access {
    /// Finds or starts the broker.
    pub fn open(arguments: &BrokerArguments, missing: MissingDirectory) -> Outcome<Access> {
        if let Some(servers) = &arguments.bootstrap_servers {
            return Ok(Access {
                bootstrap_servers: servers.clone(),
                place: servers.clone(),
                embedded: None,
            });
        }
        let directory = &arguments.data_dir;
        if missing == MissingDirectory::Refuse && !directory.exists() {
            return Failure::new(Exit::Failed, format!("nothing is in {}", directory.display()))
                .cause("the directory isn't there, so nothing was ingested into it")
                .remedy(
                    "start where you ran `streamledger ingest`, name the directory with \
                     --data-dir,\nor a broker with --bootstrap-servers",
                )
                .err();
        }
        let begun = Instant::now();
        loop {
            let waited = begun.elapsed();
            let config = BrokerConfig::builder().data_dir(directory).listen(ANY_PORT).build();
            let config = config.map_err(|error| config_failure(&error))?;
            match Broker::start(config) {
                Ok(broker) => {
                    tell_of_offline(&broker);
                    return Ok(Access {
                        bootstrap_servers: broker.bootstrap_servers(),
                        place: format!("embedded, in {}", directory.display()),
                        embedded: Some(broker),
                    });
                }
                Err(StartError::Locked { listening_at: Some(address), .. })
                    if waited >= ANSWER_PATIENCE || answers(&address) =>
                {
                    return Ok(Access {
                        place: format!("{address}, which serves {}", directory.display()),
                        bootstrap_servers: address,
                        embedded: None,
                    });
                }
                // It is starting, or ending, and listens in a moment, or is gone: one that was
                // killed holds the directory until the kernel has taken it apart.
                Err(StartError::Locked { .. }) if waited < LOCK_PATIENCE => {
                    thread::sleep(LOCK_LOOK);
                }
                Err(error) => return Err(start_failure(&error).into()),
            }
        }
    }

    /// Ends an embedded broker, flushing its log.
    pub fn close(self) -> Outcome<()> {
        match self.embedded.map(RunningBroker::shutdown) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(stop_failure(&error).into()),
        }
    }
}

/// Whether a broker answers at these addresses.
fn answers(addresses: &str) -> bool {
    let own = Properties::new()
        .with("bootstrap.servers", addresses)
        .with("default.api.timeout.ms", "1000")
        .with("request.timeout.ms", "1000");
    let admin = AdminConfig::from_properties(&own).ok().and_then(|own| Admin::new(own).ok());
    admin.is_some_and(|admin| admin.describe_cluster().is_ok())
}

/// Says on stderr which partitions a broker can't serve: they would seem empty otherwise.
pub fn tell_of_offline(broker: &RunningBroker) {
    for (_, why) in broker.offline_partitions() {
        ui::say(format_args!("warning: {why}; its records are not served"));
    }
}

/// A wrong setting of the broker, as a failure.
pub fn config_failure(error: &ConfigError) -> Failure {
    Failure::new(Exit::Usage, "the broker's settings can't be used")
        .because(error)
        .remedy("docs/broker-settings.md has every setting with its default and why")
}

/// A broker that ended and couldn't do all that is due before, as a failure.
pub fn stop_failure(error: &StopError) -> Failure {
    let remedy = match error {
        StopError::Unanswered(_) => {
            "the log is flushed and closed; clients that got no answer ask again"
        }
        _ => "nothing acknowledged is lost: the next start repairs the log",
    };
    Failure::new(Exit::Failed, "the broker ended uncleanly").because(error).remedy(remedy)
}

/// Why a broker doesn't start, as a failure with what to do.
pub fn start_failure(error: &StartError) -> Failure {
    let failure = Failure::new(Exit::BrokerStart, "the embedded broker can't start").because(error);
    let remedy = match error {
        StartError::Locked { .. } => {
            "end the other broker, or use another directory with --data-dir"
        }
        StartError::Storage(StorageError::NotOurs { .. }) => {
            "name an empty directory, or one that isn't there yet, with --data-dir"
        }
        StartError::Storage(StorageError::NewerFormat { .. }) => {
            "use the version of streamledger that wrote it, or another --data-dir"
        }
        StartError::Storage(StorageError::DiskFull { .. }) => {
            "free some space, or use a directory on another disk with --data-dir"
        }
        StartError::Storage(_) | StartError::Metadata(_) | StartError::Topics(_) => {
            "see to the directory, or use another with --data-dir"
        }
        StartError::AddressInUse { .. } => {
            "end what listens there, or choose another port: --listen 127.0.0.1:0 takes a free one"
        }
        StartError::Listen { .. } => "choose an address of this machine with --listen",
        StartError::PublicListen { .. } => {
            "listen on 127.0.0.1; or make it secure, as docs/security.md says; or allow it with \
             --insecure-listen"
        }
        StartError::Tls { .. } => {
            "see to the file; docs/security.md has how to make and convert them"
        }
        _ => "see to the cause and try again",
    };
    failure.remedy(remedy)
}
