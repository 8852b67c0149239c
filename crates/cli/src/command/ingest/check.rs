//! What can't be done whatever the files hold, told before one of them is looked at.

use streamledger::TopicName;

use super::{IngestArguments, OnError};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::job;

impl IngestArguments {
    /// Refuses names that can't be, and options that would have no effect.
    pub(super) fn check(&self) -> Outcome<()> {
        let usage = |what: String| Failure::new(Exit::Usage, what);
        check_topic("--topic", &self.topic)?;
        if self.job().is_empty() {
            return usage("a job needs a name".to_owned())
                .remedy("leave --job out for the topic's name, or give it one")
                .err();
        }
        if let Some(letters) = &self.dead_letter_topic {
            check_topic("--dead-letter-topic", letters)?;
            if *letters == self.topic {
                return usage(format!("{letters} can't be the topic of its own dead letters"))
                    .cause("bad rows among the others would be taken for rows")
                    .remedy("give --dead-letter-topic another name, or leave it out")
                    .err();
            }
        }
        let (wants_letters, wants_stop) =
            (self.on_error == OnError::DeadLetter, self.on_error == OnError::Stop);
        let idle = [
            ("dead-letter-topic", self.dead_letter_topic.is_some() && !wants_letters),
            ("max-rejected", self.max_rejected.is_some() && wants_stop),
        ];
        for (option, _) in idle.into_iter().filter(|(_, is_idle)| *is_idle) {
            // The command line wins over a job file, whatever else that says.
            if self.source(option) == "job file" && self.source("on-error") == "flag" {
                continue;
            }
            let meant =
                if option == "max-rejected" { "skip or dead-letter" } else { "dead-letter" };
            return usage(format!("--{option} has no effect without --on-error {meant}"))
                .remedy(format!("say --on-error too, or leave --{option} out"))
                .err();
        }
        Ok(())
    }

    /// Who gave an option its value.
    fn source(&self, option: &str) -> &'static str {
        let of = self.in_force.iter().find(|of| of.name == option);
        of.map_or("default", |of| of.source)
    }
}

fn check_topic(flag: &str, name: &str) -> Outcome<()> {
    if name == job::TOPIC {
        return Failure::new(Exit::Usage, format!("{flag} {name} is where progress is kept"))
            .cause("rows there would be taken for what is known of jobs")
            .remedy("give the topic another name")
            .err();
    }
    let checked = TopicName::new(name).validate();
    checked.map_err(|error| {
        let what = format!("{flag} {name:?} can't be the name of a topic");
        Failure::new(Exit::Usage, what).because(&error).remedy("give the topic another name")
    })?;
    Ok(())
}
