mod agent;
mod change;
mod environment;
mod hostile;
mod mistakes;
mod patroni;
mod reference;
mod reload;
mod secrets;
mod settings;
mod url;

use std::path::Path;

use crate::{Settings, load::load_text, mistake::Mistakes};

/// The least that is valid.
const LEAST: &str = "[[cluster]]\nnodes = [{ address = \"a:5432\" }]\n";

fn load_with(text: &str, environment: &[(&str, &str)]) -> Result<Settings, Mistakes> {
    let variables = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_text(Path::new("p.toml"), text, variables)
}

#[track_caller]
fn valid(text: &str) -> Settings {
    load_with(text, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// The mistakes of `text`, a line each.
#[track_caller]
fn mistakes(text: &str) -> String {
    load_with(text, &[]).expect_err("accepted").to_string()
}

/// A value of SHOW CONFIG.
fn row<'a>(settings: &'a Settings, key: &str) -> &'a str {
    crate::rows(settings).iter().find(|row| row.key == key).map_or("absent", |row| &row.value)
}
