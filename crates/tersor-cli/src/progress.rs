//! Progress bars on a terminal.

use crate::output;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tersor::Progress;

/// Shows one bar at a time on standard error; nothing if that is no terminal or the user wants quiet.
pub(crate) struct Bar {
    is_shown: bool,
    #[cfg(feature = "nets")]
    is_quiet: bool,
    current: Mutex<Option<ProgressBar>>,
}

impl Bar {
    /// A bar that appears when work begins.
    pub(crate) fn new(is_quiet: bool) -> Self {
        Self {
            is_shown: !is_quiet && std::io::stderr().is_terminal(),
            #[cfg(feature = "nets")]
            is_quiet,
            current: Mutex::new(None),
        }
    }

    /// A line above the bar; nothing if the user wants quiet.
    #[cfg(feature = "nets")]
    pub(crate) fn println(&self, text: &str) {
        if !self.is_quiet {
            self.say(text);
        }
    }

    /// Writes a line to standard error, above the bar.
    pub(crate) fn say(&self, text: &str) {
        match &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(bar) => bar.suspend(|| output::say(text)),
            None => output::say(text),
        }
    }

    fn with(&self, act: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            act(bar);
        }
    }

    fn replace(&self, bar: Option<ProgressBar>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = std::mem::replace(&mut *current, bar) {
            old.finish_and_clear();
        }
    }
}

/// Time left, once there is something to judge it by.
fn time_left(state: &ProgressState, text: &mut dyn Write) {
    if state.pos() > 0 {
        let _ = write!(text, "{:#} left", HumanDuration(state.eta()));
    }
}

impl Progress for Bar {
    fn start(&self, what: &str, total: u64) {
        if !self.is_shown {
            return;
        }
        let template = if total == 0 {
            "{prefix} {spinner} {elapsed} {msg}"
        } else {
            "{prefix} [{bar:30}] {percent:>3} % {left} {msg}"
        };
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::with_draw_target((total > 0).then_some(total), ProgressDrawTarget::stderr());
        bar.set_style(style.progress_chars("=> ").with_key("left", time_left));
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.replace(Some(bar));
    }

    fn advance(&self, amount: u64) {
        self.with(|bar| bar.inc(amount));
    }

    fn note(&self, text: &str) {
        self.with(|bar| bar.set_message(text.to_owned()));
    }

    fn finish(&self) {
        self.replace(None);
    }
}

impl Drop for Bar {
    /// Work that failed leaves no bar behind the message.
    fn drop(&mut self) {
        self.replace(None);
    }
}
