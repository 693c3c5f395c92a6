//! The gateway's JSON: numbers are written as text, bytes as base64, and what is empty or zero is left out.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::Value;

use super::EtcdError;
use crate::{rest::number, view::word};

/// A key and its value.
#[derive(Debug)]
pub(super) struct KeyValue {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// When it was changed last.
    pub(super) revision: u64,
}

/// What `/v3/kv/range` answers.
#[derive(Debug)]
pub(super) struct RangeAnswer {
    pub(super) revision: u64,
    pub(super) pairs: Vec<KeyValue>,
}

/// A line of what `/v3/watch` answers.
#[derive(Debug)]
pub(super) struct WatchLine {
    pub(super) revision: u64,
    pub(super) events: Vec<Event>,
}

#[derive(Debug)]
pub(super) struct Event {
    pub(super) deleted: bool,
    pub(super) pair: KeyValue,
}

#[derive(Debug, Deserialize)]
struct JsonAnswer {
    #[serde(default)]
    header: JsonHeader,
    #[serde(default)]
    kvs: Vec<JsonPair>,
    /// A refusal: a text, or an object with a message.
    #[serde(default)]
    error: Value,
}

#[derive(Debug, Deserialize, Default)]
struct JsonHeader {
    #[serde(default)]
    revision: Value,
}

#[derive(Debug, Deserialize)]
struct JsonPair {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    mod_revision: Value,
}

#[derive(Debug, Deserialize)]
struct JsonLine {
    result: Option<JsonWatch>,
    #[serde(default)]
    error: Value,
}

#[derive(Debug, Deserialize)]
struct JsonWatch {
    #[serde(default)]
    header: JsonHeader,
    #[serde(default)]
    canceled: bool,
    #[serde(default)]
    cancel_reason: String,
    #[serde(default)]
    events: Vec<JsonEvent>,
}

#[derive(Debug, Deserialize)]
struct JsonEvent {
    /// `PUT` is the default and left out.
    #[serde(default, rename = "type")]
    kind: Value,
    kv: JsonPair,
}

impl RangeAnswer {
    pub(super) fn read(body: &[u8]) -> Result<Self, EtcdError> {
        let answer: JsonAnswer = serde_json::from_slice(body).map_err(EtcdError::Malformed)?;
        refusal(&answer.error)?;
        let pairs = answer.kvs.into_iter().filter_map(pair).collect();
        Ok(Self { revision: number(&answer.header.revision).unwrap_or(0), pairs })
    }
}

impl WatchLine {
    pub(super) fn read(line: &[u8]) -> Result<Self, EtcdError> {
        let line: JsonLine = serde_json::from_slice(line).map_err(EtcdError::Malformed)?;
        refusal(&line.error)?;
        let Some(watch) = line.result else { return Err(EtcdError::Ended) };
        if watch.canceled {
            let reason = word(&watch.cancel_reason);
            return Err(if reason.is_empty() { EtcdError::Ended } else { EtcdError::Refused(reason) });
        }
        let event = |event: JsonEvent| {
            let deleted = event.kind == "DELETE" || event.kind == 1;
            Some(Event { deleted, pair: pair(event.kv)? })
        };
        Ok(Self {
            revision: number(&watch.header.revision).unwrap_or(0),
            events: watch.events.into_iter().filter_map(event).collect(),
        })
    }
}

/// A pair whose key or value is no base64 is none.
fn pair(pair: JsonPair) -> Option<KeyValue> {
    Some(KeyValue {
        key: BASE64_STANDARD.decode(&pair.key).ok()?,
        value: BASE64_STANDARD.decode(&pair.value).ok()?,
        revision: number(&pair.mod_revision).unwrap_or(0),
    })
}

fn refusal(error: &Value) -> Result<(), EtcdError> {
    match error {
        Value::Null => Ok(()),
        Value::String(text) => Err(EtcdError::Refused(word(text))),
        other => {
            let message = other.get("message").and_then(Value::as_str).unwrap_or("no reason given");
            Err(EtcdError::Refused(word(message)))
        }
    }
}
