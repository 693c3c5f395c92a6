//! The reference: an example file made from the key table.

use crate::{
    agent, raw,
    section::{Effect, Key, Preset, Section},
};

const PREFACE: &str = "\
# Every key of pgherd's configuration, with its meaning and default. Made from the source; a test keeps it so.
# A key that is commented out shows its default, or a sample where there is none.
# Durations have a unit: ms, s, min, h, d. Sizes too, in powers of 1024: B, kB, MB, GB, TB.
# Relative paths are relative to this file. Any key can be set by the environment too, which wins:
# PGHERD__POOL__SIZE=50, PGHERD__CLUSTER__0__NODES__1__ADDRESS=10.0.2.1:5432
";

const AGENT_PREFACE: &str = "\
# Every key of `pgherd agent`, with its meaning and default. Made from the source; a test keeps it so.
# A key that is commented out shows its default, or a sample where there is none.
# Durations have a unit: ms, s, min, h, d. Paths of the agent's own files may be relative to this one.
";

/// An example file in which every key occurs, documented. It loads as it is, and with every key uncommented.
#[must_use]
pub fn reference() -> String {
    whole(PREFACE, &raw::SECTIONS, is_optional)
}

/// The same for an agent's file; the files that it names are not there.
#[must_use]
pub fn agent_reference() -> String {
    whole(AGENT_PREFACE, &agent::SECTIONS, |_| false)
}

fn whole(preface: &str, sections: &[Section], is_optional: impl Fn(&Section) -> bool) -> String {
    let mut text = preface.to_owned();
    for section in sections {
        text.push('\n');
        comment(&mut text, section.docs);
        let optional = is_optional(section);
        text.push_str(if optional { "#" } else { "" });
        text.push_str(&section.heading());
        text.push('\n');
        // [database.pool] has the keys of [pool], which is explained on its own
        let explained = !section.path.ends_with(".pool");
        for key in section.keys {
            entry(&mut text, key, explained, optional);
        }
    }
    text
}

/// Whether the file is whole without the section although some of its keys are required.
fn is_optional(section: &Section) -> bool {
    let is_of_user = section.path.split('.').any(|name| name == "user");
    let lacks_something = section.keys.iter().any(|key| matches!(key.preset, Preset::Required(_)));
    // To write it is to say that Patroni is there.
    let is_of_patroni = section.path.ends_with(".patroni");
    is_of_user || is_of_patroni || lacks_something && !section.path.starts_with("cluster")
}

fn entry(text: &mut String, key: &Key, explained: bool, commented: bool) {
    if explained {
        comment(text, key.docs);
        if key.effect == Effect::Restart {
            text.push_str("# A change takes a restart.\n");
        }
    }
    let (mark, value) = match key.preset {
        Preset::Text("") => ("#", "[]".to_owned()),
        Preset::Text(value) if is_bare(value) => ("#", value.to_owned()),
        Preset::Text(value) => ("#", format!("{value:?}")),
        Preset::Unset(sample) => ("#", sample.to_owned()),
        Preset::Required(sample) => (if commented { "#" } else { "" }, sample.to_owned()),
    };
    text.push_str(&format!("{mark}{} = {value}\n", key.name));
}

fn comment(text: &mut String, lines: &[&str]) {
    for line in lines {
        text.push_str(&format!("#{line}\n"));
    }
}

/// Numbers and truth values go without quotes.
fn is_bare(value: &str) -> bool {
    value.parse::<u64>().is_ok_and(|number| number.to_string() == value) || value.parse::<bool>().is_ok()
}
