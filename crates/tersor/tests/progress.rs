//! What is told while work goes on: every piece of it begins with its size and ends when that is reached.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first failure, in its helpers too"
)]

mod support;

use std::sync::Mutex;
use support::*;
use tersor::options::{CompressOptions, Method, Scope, Target};
use tersor::{Compressor, Progress, Silent, synthetic, verify};
use tersor_codec::{Coder, FileReader, Limits};

/// One piece of work: its name, its size, how much of it was done, and what was noted.
#[derive(Clone, Debug, Default)]
struct Work {
    what: String,
    total: u64,
    done: u64,
    notes: Vec<String>,
}

/// Remembers all that is told.
#[derive(Default)]
struct Recorder(Mutex<Vec<Work>>);

impl Progress for Recorder {
    fn start(&self, what: &str, total: u64) {
        let (what, done, notes) = (what.to_owned(), 0, Vec::new());
        self.0.lock().unwrap().push(Work {
            what,
            total,
            done,
            notes,
        });
    }

    fn advance(&self, amount: u64) {
        self.0.lock().unwrap().last_mut().unwrap().done += amount;
    }

    fn note(&self, text: &str) {
        self.0
            .lock()
            .unwrap()
            .last_mut()
            .unwrap()
            .notes
            .push(text.to_owned());
    }

    fn finish(&self) {}
}

impl Recorder {
    fn pieces(&self) -> Vec<Work> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[test]
fn every_piece_of_work_ends_at_its_total() {
    let original = synthetic::checkpoint(61).unwrap();
    let told = Recorder::default();
    for scope in [Scope::Tensor, Scope::Global] {
        for coder in [Some(Coder::Ans), None] {
            let options = options(Method::Grid, scope).with_coder(coder);
            let compressor = Compressor::with_progress(&original, options, &told).unwrap();
            for target in [Target::NearLossless, Target::Bpw(3.0)] {
                let file = compressor.compress(&target, &told).unwrap();
                let reader = FileReader::new(&file.bytes, Limits::NONE).unwrap();
                verify::compare(&reader, &original, &told).unwrap();
                for work in told.pieces() {
                    assert!(work.total > 0, "{scope} {target:?}: {work:?}");
                    assert_eq!(work.done, work.total, "{scope} {target:?}: {work:?}");
                }
            }
        }
    }
}

#[test]
fn a_search_tells_its_trials_its_target_and_how_close_it_came() {
    let original = small();
    let told = Recorder::default();
    let compressor = Compressor::with_progress(&original, CompressOptions::default(), &told).unwrap();
    let file = compressor.compress(&Target::SizeBytes(2500), &told).unwrap();
    let pieces = told.pieces();
    let names: Vec<&str> = pieces.iter().map(|work| work.what.as_str()).collect();
    let n = file.report.n_trials;
    assert!(n > 1, "a search that is worth a test");
    let trials: Vec<String> = (1..=n).map(|i| format!("trial {i}")).collect();
    assert_eq!(names[0], "survey");
    assert_eq!(names[1..=n], trials);
    assert_eq!(names[n + 1..], ["verify"]);
    assert_eq!(pieces[1].notes, ["target 2500 bytes"]);
    let last = &pieces[n].notes[0];
    assert!(last.starts_with("target 2500 bytes, so far "), "{last}");
    // Without anybody to tell, the same is done.
    assert!(
        compressor
            .compress(&Target::SizeBytes(2500), &Silent)
            .unwrap()
            .bytes
            == file.bytes
    );
}
