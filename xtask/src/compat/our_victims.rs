//! Our transactional producer killed with -9 amid its work: each next life goes on after what the
//! former has committed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::lab::{LIMIT, Trial};
use super::our_transactions::{PARTITIONS, committed, transactional, write};
use super::workload::Noise;
use crate::failure::{Outcome, ensure};
use crate::process::Group;

/// What a victim of kills commits at least before it is killed, what it says then, and where.
const COMMITS_OF_A_LIFE: usize = 3;
const COMMITTED: &str = "committed ";
const VICTIM_LOG: &str = "victim.log";

/// kill -9 of the producer again and again; each next life goes on after what was committed.
pub(crate) fn survive_their_own_death(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("numbers");
    trial.create_topics(std::slice::from_ref(&topic), PARTITIONS, &[])?;
    let bootstrap = trial.bootstrap()?;
    let (lives, mut pause) = (8, Noise::seeded(5));
    for life in 1..=lives {
        let mut producer = victim(&trial.directory, &bootstrap, &topic, trial.name())?;
        let enough = told_commits(&trial.directory) + COMMITS_OF_A_LIFE;
        let deadline = Instant::now() + LIMIT;
        while told_commits(&trial.directory) < enough {
            ensure!(producer.is_running(), "life {life} ended by itself");
            ensure!(Instant::now() < deadline, "life {life} commits too little in 120 s");
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(pause.next() % 250));
        producer.kill();
    }
    // The last life's transaction is aborted by the next producer of the name.
    transactional(&bootstrap, trial.name(), &[])?.init_transactions()?;
    let seen = committed(&bootstrap, &topic)?;
    let whole = seen.values().map(Vec::len).min().unwrap_or(0);
    let expected: Vec<String> = (0..whole).map(|number| number.to_string()).collect();
    for (partition, values) in &seen {
        ensure!(*values == expected, "partition {partition} has {values:?}, not 0 to {whole}");
    }
    ensure!(whole >= lives * COMMITS_OF_A_LIFE, "{whole} transactions, fewer than were told");
    Ok(format!("{whole} transactions over {lives} kills, each whole and once"))
}

/// The program of `cargo xtask transact`: numbers on from what is committed, one transaction each,
/// with a record that is aborted after every third.
pub(crate) fn transact_until_killed(bootstrap: &str, topic: &str, name: &str) -> Outcome<()> {
    let producer = transactional(bootstrap, name, &["linger.ms=1"])?;
    producer.init_transactions()?;
    let seen = committed(bootstrap, topic)?;
    let first = seen.get(&0).map_or(0, Vec::len);
    for number in first.. {
        let mut transaction = producer.begin_transaction()?;
        write(&transaction, topic, &number.to_string())?;
        transaction.commit()?;
        println!("{COMMITTED}{number}");
        if number % 3 == 0 {
            let aborted = producer.begin_transaction()?;
            write(&aborted, topic, "aborted")?;
            producer.flush()?;
            aborted.abort()?;
        }
    }
    Ok(())
}

/// How many commits its lives have told of.
fn told_commits(directory: &Path) -> usize {
    let said = std::fs::read_to_string(directory.join(VICTIM_LOG)).unwrap_or_default();
    said.lines().filter(|line| line.starts_with(COMMITTED)).count()
}

fn victim(directory: &Path, bootstrap: &str, topic: &str, name: &str) -> Outcome<Group> {
    let said =
        std::fs::OpenOptions::new().create(true).append(true).open(directory.join(VICTIM_LOG))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["transact", bootstrap, topic, name]);
    command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
    Group::spawn(&mut command)
}
