//! Logs, to standard error: text or JSON, one line an event.

use std::io::{self, Write};

use anyhow::Context;
use config::{LogFormat, LogSettings};
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};

/// Changes what is logged while the process runs.
#[derive(Debug, Clone)]
pub(crate) struct LogControl {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LogControl {
    /// Logs as `level` says from now on.
    ///
    /// # Errors
    /// When `level` is no filter; the old one then stays.
    pub(crate) fn set_level(&self, level: &str) -> anyhow::Result<()> {
        self.filter.reload(filter(level)?).context("the log is gone")
    }
}

/// Starts logging for the whole process. Once only.
///
/// # Errors
/// When something logs already, or the level is no filter.
pub(crate) fn start(settings: &LogSettings) -> anyhow::Result<LogControl> {
    let (filter, control) = reload::Layer::new(filter(&settings.level)?);
    tracing_subscriber::registry()
        .with(filter)
        .with(layer(settings.format, io::stderr))
        .try_init()
        .context("the log was started twice")?;
    Ok(LogControl { filter: control })
}

fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::builder().parse(level).with_context(|| format!("{level:?} is no log level"))
}

fn layer<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_ansi(false).with_writer(OneLine(writer));
    match format {
        LogFormat::Text => Box::new(layer),
        LogFormat::Json => {
            Box::new(layer.json().flatten_event(true).with_current_span(true).with_span_list(false))
        }
    }
}

/// Keeps each event on its line and every terminal as it is: what a client chose to put into a name or an error
/// cannot forge a line, recolour or rewrite.
struct OneLine<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = OneLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Self::Writer {
        OneLine(self.0.make_writer_for(meta))
    }
}

impl<W: Write> Write for OneLine<W> {
    /// Takes one event, which ends with its line feed: the formatter hands over each as a whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = text.strip_suffix('\n').map_or((&*text, ""), |line| (line, "\n"));
        if !line.contains(is_unsafe) {
            self.0.write_all(event)?;
            return Ok(event.len());
        }
        let mut escaped = String::with_capacity(text.len() + 16);
        for c in line.chars() {
            match c {
                '\n' => escaped.push_str("\\n"),
                '\r' => escaped.push_str("\\r"),
                '\t' => escaped.push_str("\\t"),
                // four digits, so that it is an escape in JSON's strings as well
                c if is_unsafe(c) => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => escaped.push(c),
            }
        }
        escaped.push_str(end);
        self.0.write_all(escaped.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Control characters, line separators, and what turns the direction of writing.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `events` logs.
    fn logged(format: LogFormat, level: &str, events: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber =
            Registry::default().with(filter(level).unwrap()).with(layer(format, move || writer.clone()));
        tracing::subscriber::with_default(subscriber, events);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_is_one_line_whatever_a_client_put_into_it() {
        let name = "evil\n2026-01-01 INFO forged\r\x1b[31mred\u{9b}2J\u{202e}";
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, "info", || {
                tracing::info!(user = name, "login {name}");
                tracing::info!(user = %name, error = ?name, "second");
            });
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(!text.trim_end().contains(|c| c != '\n' && is_unsafe(c)), "{text:?}");
        }
    }

    #[test]
    fn json_events_are_objects_with_their_span() {
        let text = logged(LogFormat::Json, "info", || {
            let span = tracing::info_span!("client", session = 12);
            span.in_scope(|| tracing::warn!(code = "57P01", user = "a\u{7f}b", "gone"));
        });
        let object: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(object["message"], "gone");
        assert_eq!(object["level"], "WARN");
        assert_eq!(object["code"], "57P01");
        assert_eq!(object["user"], "a\u{7f}b");
        assert_eq!(object["span"]["session"], 12);
    }

    #[test]
    fn levels_are_by_module() {
        let text = logged(LogFormat::Text, "warn,loud=debug", || {
            tracing::debug!(target: "loud", "heard");
            tracing::info!("unheard");
        });
        assert!(text.contains("heard") && !text.contains("unheard"), "{text}");
    }

    #[test]
    fn what_is_no_level_is_refused() {
        assert!(filter("loud=shout").is_err());
    }
}
