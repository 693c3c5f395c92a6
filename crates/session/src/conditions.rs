//! Under which settings statements are prepared. A plan is of use to others only if it was made where its statement is
//! at home: what it holds of literals and of the names of tables, it holds for good.

use pool::{Server, Statement, Under, bears_on_plans, bears_on_plans_in_transaction};
use sql::{Class, Effect, SettingChange, Statements, local_settings, setting_changes};
use wire::message::backend::TxStatus;

use crate::{pin::Pins, session::Session};

impl Session {
    /// The settings under which `statement` is prepared if it is prepared now.
    pub(crate) fn under(&self, statement: &Statement) -> Under {
        match self.exchange().unsettled {
            Some(number) => Under::Other(number),
            None if statement.is_at_home(&self.wanted) => Under::Own,
            None => Under::Other(self.wanted.planning().serial()),
        }
    }

    /// Whether an unnamed statement that is prepared now is what the client means when it binds it later. What was
    /// prepared under unsettled settings is forgotten when these are settled.
    pub(crate) fn is_unnamed_reusable(&self, statement: &Statement) -> bool {
        self.exchange().unsettled.is_some() || statement.is_at_home(&self.wanted)
    }

    /// From here on settings or tables may be other than they will be when the transaction has ended.
    pub(crate) fn unsettle(&mut self) {
        if self.exchange().unsettled.is_none() {
            let number = self.pools.states.next_serial();
            self.exchange_mut().unsettled = Some(number);
        }
    }

    /// A text of this class is sent.
    pub(crate) fn note_settings(&mut self, class: Class, text: &[u8]) {
        let unsettles = match class.effect {
            Effect::None
            | Effect::Unlisten
            | Effect::DiscardAll
            | Effect::DeallocateAll
            | Effect::Deallocate => return,
            Effect::LocalSettings => {
                local_settings(text).any(|name| name.is_none_or(|name| bears_on_plans_in_transaction(&name)))
            }
            Effect::Settings | Effect::Listen => {
                class.statements == Statements::Many
                    || setting_changes(text).any(|change| match change {
                        SettingChange::Set { name, .. } | SettingChange::Reset { name } => {
                            bears_on_plans(&name)
                        }
                        SettingChange::ResetAll => true,
                        SettingChange::Listen { .. }
                        | SettingChange::Unlisten { .. }
                        | SettingChange::UnlistenAll => false,
                    })
            }
            Effect::Pin(causes) => Pins::from(causes).unsettle(),
        };
        if unsettles {
            self.unsettle();
        }
    }

    /// A unit was answered: if nothing is under way and no transaction is open, the settings in force are those that are
    /// known, unless the session is pinned for others.
    pub(crate) fn settle(&mut self, server: &mut Server) {
        if self.exchange().unsettled.is_some()
            && server.ledger.is_settled()
            && server.ledger.status() == TxStatus::Idle
            && self.exchange().effects.is_empty()
            && !self.pins().unsettle()
        {
            self.exchange_mut().unsettled = None;
            server.prepared.set_unnamed(None);
        }
    }
}
