//! Child processes: each in a group of its own, which ends with us whatever happens.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::failure::{Failure, Outcome, ensure};

/// Process groups that are alive now, so that a signal to us can end them.
static ALIVE: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A child and all it starts, killed when this is dropped.
pub(crate) struct Group {
    child: Child,
    name: String,
    ended: bool,
}

impl Group {
    pub(crate) fn spawn(command: &mut Command) -> Outcome<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .process_group(0)
            .spawn()
            .map_err(|e| Failure::from(e).while_doing(format!("starting {name}")))?;
        let group = Self { child, name, ended: false };
        alive(|groups| groups.insert(group.pid()));
        Ok(group)
    }

    pub(crate) fn pid(&self) -> i32 {
        Pid::from_child(&self.child).as_raw_nonzero().get()
    }

    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    pub(crate) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends the whole group at once (SIGKILL) and waits for the child. Once: its number may be
    /// another's later.
    pub(crate) fn kill(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        // Already gone is as good as killed.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
        alive(|groups| groups.remove(&self.pid()));
    }

    /// Asks the group to end (SIGTERM).
    pub(crate) fn terminate(&self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::TERM);
    }

    /// Has the group stand still (SIGSTOP) until [`Group::resume`].
    pub(crate) fn pause(&self) -> Outcome<()> {
        Ok(kill_process_group(Pid::from_child(&self.child), Signal::STOP)?)
    }

    /// Has it go on (SIGCONT).
    pub(crate) fn resume(&self) -> Outcome<()> {
        Ok(kill_process_group(Pid::from_child(&self.child), Signal::CONT)?)
    }

    /// Waits for the child's own end; kills the group and fails after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Outcome<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.kill();
                return Ok(status);
            }
            if Instant::now() >= deadline {
                self.kill();
                let seconds = limit.as_secs();
                return Err(Failure::new(format!("{} did not end in {seconds} s", self.name)));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

fn alive<R>(change: impl FnOnce(&mut BTreeSet<i32>) -> R) -> R {
    change(&mut ALIVE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Makes SIGINT, SIGTERM and SIGHUP end every group before they end us.
pub(crate) fn end_children_on_signals() -> Outcome<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
                return;
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            for group in alive(|groups| groups.clone()) {
                if let Some(pid) = Pid::from_raw(group) {
                    let _ = kill_process_group(pid, Signal::KILL);
                }
            }
            std::process::exit(130);
        });
    });
    Ok(())
}

/// What a finished command said.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Everything it said, for tools that put their errors on either stream.
    pub(crate) fn all_text(&self) -> String {
        format!("{}{}", self.text(), self.stderr)
    }
}

/// Runs a command to its end with `input` on stdin; fails when it takes longer than `limit`.
pub(crate) fn run(command: &mut Command, input: &[u8], limit: Duration) -> Outcome<Finished> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut group = Group::spawn(command)?;
    let stdin = group.take_stdin();
    let stdout = group.child.stdout.take();
    let stderr = group.child.stderr.take();
    thread::scope(|scope| {
        scope.spawn(move || {
            // A program that ends without reading its input breaks the pipe: its status tells.
            let _ = stdin.map(|mut pipe| pipe.write_all(input));
        });
        let out = scope.spawn(move || read_all(stdout));
        let err = scope.spawn(move || read_all(stderr));
        let status = group.wait(limit);
        let stdout = out.join().unwrap_or_default();
        let stderr = String::from_utf8_lossy(&err.join().unwrap_or_default()).into_owned();
        let status = status.map_err(|failure| {
            let said = last_lines(&format!("{}{stderr}", String::from_utf8_lossy(&stdout)), 5);
            Failure::new(format!("{failure}; it said: {said}"))
        })?;
        Ok(Finished { status, stdout, stderr })
    })
}

/// As [`run`], but any exit status other than zero is a failure that quotes what was said.
pub(crate) fn run_ok(command: &mut Command, input: &[u8], limit: Duration) -> Outcome<Finished> {
    let finished = run(command, input, limit)?;
    let name = command.get_program().to_string_lossy();
    let (status, said) = (finished.status, last_lines(&finished.all_text(), 12));
    ensure!(status.success(), "{name} ended with {status}: {said}");
    Ok(finished)
}

/// Runs a command whose output the reader of this run should see; true if it succeeded.
pub(crate) fn show(command: &mut Command) -> Outcome<bool> {
    let mut group = Group::spawn(command.stdin(Stdio::null()))?;
    Ok(group.child.wait()?.success())
}

fn read_all(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What was read before an error is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}

/// The last lines of a text, for quoting in a failure.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gets_its_input_and_gives_both_streams() {
        let mut command = Command::new("sh");
        command.args(["-c", "cat; echo no >&2; exit 3"]);
        let finished = run(&mut command, b"yes", Duration::from_secs(20)).unwrap();
        assert_eq!((finished.text().as_str(), finished.stderr.as_str()), ("yes", "no\n"));
        assert_eq!(finished.status.code(), Some(3));
        assert!(run_ok(&mut command, b"", Duration::from_secs(20)).is_err());
    }

    #[test]
    fn a_command_over_its_time_is_killed_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & sleep 600"]);
        let failure = run(&mut command, b"", Duration::from_millis(50)).err().unwrap();
        assert!(failure.to_string().contains("did not end"), "{failure}");
    }

    #[test]
    fn last_lines_keeps_the_end() {
        assert_eq!(last_lines("a\n\nb\nc\n", 2), "b\n    c");
    }
}
