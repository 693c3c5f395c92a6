//! SET, RESET, `set_config`, LISTEN and DEALLOCATE: what they change.

mod changes;
mod channel;
mod characteristics;
mod config;
mod statement;
#[cfg(test)]
mod tests;

pub(crate) use changes::deallocated;
pub use changes::{SettingChange, deallocated_name, local_settings, setting_changes};
pub(crate) use channel::{Channel, read_channel};
pub(crate) use config::{ConfigList, config_list};
pub(crate) use statement::{SetStatement, between, read_reset, read_set};
