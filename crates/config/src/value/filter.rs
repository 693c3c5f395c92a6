use super::{Value, Wrong};
use crate::{nearest::nearest, tree::Node};

/// The levels, from nothing to everything.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Which events are logged: `level` or `target=level`, between commas. A subset of what `tracing_subscriber`'s
/// `EnvFilter` takes, so that a mistake is found here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFilter(pub(crate) String);

impl Value for LogFilter {
    fn expected() -> String {
        "a level (off, error, warn, info, debug, trace) or target=level, between commas".to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let text = node.text().ok_or_else(Wrong::default)?;
        for directive in text.split(',').map(str::trim) {
            let (target, level) = directive.split_once('=').unwrap_or(("", directive));
            let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
            if !target.chars().all(valid) || (target.is_empty() && directive.contains('=')) {
                return Err(Wrong::default());
            }
            if !LEVELS.contains(&level) {
                return Err(Wrong { because: None, nearest: nearest(level, LEVELS).map(str::to_owned) });
            }
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}
