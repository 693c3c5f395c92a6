//! Many clients, few servers.

mod again;
mod caps;
mod conditions;
mod functions;
mod leaks;
mod listen;
mod pins;
mod pipelines;
mod refused_logins;
mod sequences;
mod session_mode;
mod session_state;
mod settings;
mod sharing;
mod sql_prepare;
mod statement_mode;
mod statements;
mod storm;
mod timeouts;
mod users;
mod wildcards;

/// A function that takes all prepared statements of its server away, which its code does not show: one that does would
/// pin its caller, who then hears of the loss.
const LOSE: &str = "create function lose() returns void language plpgsql \
                    as $$ begin execute 'deall' || 'ocate all'; end $$";
