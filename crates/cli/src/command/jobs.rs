//! `jobs`: what `ingest` keeps of its jobs, and making it forget.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::access::{Access, MissingDirectory};
use crate::args::{AdminArguments, BrokerArguments};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::given::given;
use crate::help::with_examples;
use crate::interrupt::Interrupt;
use crate::job::{self, FileProgress, ProgressKey};
use crate::topic_access;
use crate::ui::table::{self, Lean};
use crate::ui::{self, units};

/// Flags of `jobs`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
pub struct JobsArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// All jobs, with how many rows of how many files each has ingested
    List(ListArguments),
    /// The files of a job, with how far each was ingested
    Show(ShowArguments),
    /// Forget how far a job came: its files will be sent from their start, once more
    Reset(ResetArguments),
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
struct ListArguments {
    /// One JSON object a line: job, files, complete, rows, rejected
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    client: AdminArguments,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
struct ShowArguments {
    /// The job: the topic's name, unless `ingest` was given another with --job
    job: String,

    /// One JSON object a line, as it is kept: file, topic, bytes, next_line, hash, rows, ..
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    client: AdminArguments,
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
struct ResetArguments {
    /// The job
    job: String,

    /// Only this file of it, by the path that `jobs show` prints; may be repeated
    #[arg(long, value_name = "PATH")]
    file: Vec<PathBuf>,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    client: AdminArguments,
}

const EXAMPLES: &[(&str, &str)] = &[
    ("All jobs on the embedded broker", "streamledger jobs list"),
    ("How far each file of one was ingested", "streamledger jobs show ecommerce.events"),
    (
        "Send a file anew, on your Kafka",
        "streamledger jobs reset ecommerce.events --file /data/clicks.csv -b broker1:9092",
    ),
];

impl Action {
    fn broker(&self) -> (&BrokerArguments, &AdminArguments) {
        match self {
            Action::List(list) => (&list.broker, &list.client),
            Action::Show(show) => (&show.broker, &show.client),
            Action::Reset(reset) => (&reset.broker, &reset.client),
        }
    }
}

/// Does what was asked for.
pub fn run(arguments: &JobsArguments) -> Outcome<Exit> {
    let interrupt = Interrupt::watch()?;
    let (broker, client) = arguments.action.broker();
    let settings = given(client.command_config.as_deref(), &client.settings)?;
    topic_access::check(&settings)?;
    let access = Access::open(broker, MissingDirectory::Refuse)?;
    let kept = topic_access::exists(&access, &settings, job::TOPIC).and_then(|exists| {
        if !exists {
            return Ok(Some(BTreeMap::new()));
        }
        job::read(&access, &settings, &interrupt)
    });
    let outcome = match kept {
        Err(failure) => Err(failure),
        Ok(None) => Ok(Exit::Interrupted),
        Ok(Some(kept)) => match &arguments.action {
            Action::List(list) => list.run(&kept),
            Action::Show(show) => show.run(kept),
            Action::Reset(reset) => of_job(kept, &reset.job).and_then(|files| {
                let keys = reset.chosen(&files)?;
                let id = job::transactional_id(&reset.job);
                job::forget(&access, &settings, &id, &keys)?;
                for key in &keys {
                    ui::say(format_args!("forgotten: how far {} was ingested", key.file));
                }
                Ok(Exit::Done)
            }),
        },
    };
    let closed = access.close();
    outcome.and_then(|exit| closed.map(|()| exit))
}

type Kept = BTreeMap<ProgressKey, FileProgress>;

impl ListArguments {
    fn run(&self, kept: &Kept) -> Outcome<Exit> {
        let mut jobs: BTreeMap<&str, Vec<&FileProgress>> = BTreeMap::new();
        for (key, progress) in kept {
            jobs.entry(&key.job).or_default().push(progress);
        }
        if jobs.is_empty() && !self.json {
            ui::say("there are no jobs; `streamledger ingest FILE` makes one");
            return Ok(Exit::Done);
        }
        let columns = [
            ("job", Lean::Left),
            ("files", Lean::Right),
            ("whole", Lean::Right),
            ("rows", Lean::Right),
            ("rejected", Lean::Right),
        ];
        let mut table = table::table(&columns);
        for (job, files) in jobs {
            let whole = files.iter().filter(|file| file.complete).count();
            let rows: u64 = files.iter().map(|file| file.rows).sum();
            let rejected: u64 = files.iter().map(|file| file.rejected).sum();
            if self.json {
                ui::print(json!({
                    "job": job,
                    "files": files.len(),
                    "complete": whole,
                    "rows": rows,
                    "rejected": rejected,
                }))?;
                continue;
            }
            table.add_row([
                job.to_owned(),
                files.len().to_string(),
                whole.to_string(),
                units::grouped(rows),
                units::grouped(rejected),
            ]);
        }
        if !self.json {
            ui::print(table::text(&table))?;
        }
        Ok(Exit::Done)
    }
}

/// The files of one job, which must have some.
fn of_job(kept: Kept, job: &str) -> Outcome<Kept> {
    let mut jobs: Vec<String> = kept.keys().map(|key| key.job.clone()).collect();
    jobs.dedup();
    let files: Kept = kept.into_iter().filter(|(key, _)| key.job == job).collect();
    if !files.is_empty() {
        return Ok(files);
    }
    let failure = Failure::new(Exit::Failed, format!("there is no job {job:?}"));
    match jobs.as_slice() {
        [] => failure.remedy("`streamledger ingest FILE` makes one").err(),
        jobs => failure.remedy(format!("choose one of: {}", jobs.join(", "))).err(),
    }
}

impl ShowArguments {
    fn run(&self, kept: Kept) -> Outcome<Exit> {
        let files = of_job(kept, &self.job)?;
        let columns = [
            ("file", Lean::Left),
            ("ingested", Lean::Right),
            ("of", Lean::Right),
            ("rows", Lean::Right),
            ("rejected", Lean::Right),
            ("next line", Lean::Right),
        ];
        let mut table = table::table(&columns);
        for (key, progress) in &files {
            if self.json {
                let mut object = json!(progress);
                object["file"] = json!(key.file);
                if let Some(hex) = &key.file_hex {
                    object["file_hex"] = json!(hex);
                }
                ui::print(object)?;
                continue;
            }
            let next_line = if progress.complete {
                "end".to_owned()
            } else {
                units::grouped(progress.next_line)
            };
            table.add_row([
                key.file.clone(),
                units::bytes(progress.bytes),
                match &progress.compression {
                    None => units::bytes(progress.file_bytes),
                    Some(name) => format!("{} of {name}", units::bytes(progress.file_bytes)),
                },
                units::grouped(progress.rows),
                units::grouped(progress.rejected),
                next_line,
            ]);
        }
        if !self.json {
            ui::print(table::text(&table))?;
        }
        Ok(Exit::Done)
    }
}

impl ResetArguments {
    /// The files to forget: those that were named, or all.
    fn chosen(&self, files: &Kept) -> Outcome<Vec<ProgressKey>> {
        if self.file.is_empty() {
            return Ok(files.keys().cloned().collect());
        }
        let find = |path: &PathBuf| {
            files.keys().find(|key| key.path() == *path).cloned().ok_or_else(|| {
                let names: Vec<&str> = files.keys().map(|key| key.file.as_str()).collect();
                let what = format!("the job {:?} has no file {}", self.job, path.display());
                Failure::new(Exit::Failed, what)
                    .remedy(format!("name it by its whole path, one of:\n{}", names.join("\n")))
                    .into()
            })
        };
        self.file.iter().map(find).collect()
    }
}
