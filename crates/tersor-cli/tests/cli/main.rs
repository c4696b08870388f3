//! The `tersor` command as a user meets it: exit status, standard output, standard error, files.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first failure, in its helpers too"
)]

#[cfg(feature = "nets")]
mod nets;
mod output_files;
mod reports;
mod round_trip;
mod sensitivity;
mod targets;
mod usage;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tersor::synthetic;

/// The checkpoint of every [`Fixture`].
const NET: &str = "net.safetensors";
/// Its sensitivities.
const H: &str = "h.safetensors";

/// A folder of its own, in which the command runs.
struct Fixture {
    dir: TempDir,
}

/// How a command ended. The fixture's folder is called `[DIR]` in texts.
#[derive(Debug)]
struct Outcome {
    code: i32,
    stdout: String,
    stdout_bytes: Vec<u8>,
    stderr: String,
}

impl Fixture {
    /// A folder with a checkpoint of 254,084 parameters and its sensitivities.
    fn new() -> Self {
        let fixture = Self::empty();
        synthetic::write(&synthetic::checkpoint(1).unwrap(), &fixture.path(NET)).unwrap();
        synthetic::write(&synthetic::sensitivities(1).unwrap(), &fixture.path(H)).unwrap();
        fixture
    }

    fn empty() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn len(&self, name: &str) -> u64 {
        self.bytes(name).len() as u64
    }

    fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Names of all entries, sorted.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tersor"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("TMPDIR", self.dir.path());
        command
    }

    fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn run(&self, args: &[&str]) -> Outcome {
        self.run_with_input(args, &[])
    }

    fn run_with_input(&self, args: &[&str], input: &[u8]) -> Outcome {
        let mut child = self.spawn(args);
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // The command need not read all of it.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).replace(&self.dir.path().display().to_string(), "[DIR]")
        };
        Outcome {
            code: output.status.code().unwrap(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            stdout_bytes: output.stdout,
        }
    }

    /// Runs a command that has to succeed.
    fn succeed(&self, args: &[&str]) -> Outcome {
        let outcome = self.run(args);
        assert_eq!(outcome.code, 0, "{args:?}: {}", outcome.stderr);
        outcome
    }

    /// Runs a command that has to fail with a message on standard error and nothing on standard output.
    fn fail(&self, args: &[&str], message: &str) {
        let outcome = self.run(args);
        assert_eq!(outcome.code, 2, "{args:?}: {outcome:?}");
        assert_eq!(outcome.stdout, "", "{args:?}");
        assert!(outcome.stderr.contains(message), "{args:?}: {}", outcome.stderr);
        assert!(
            outcome.stderr.starts_with("error: "),
            "{args:?}: {}",
            outcome.stderr
        );
    }

    /// Runs a command that prints JSON.
    fn json(&self, args: &[&str]) -> serde_json::Value {
        let outcome = self.succeed(args);
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {}", outcome.stdout))
    }
}
