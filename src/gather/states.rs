//! What `Debug` shows of a gather's children.

use core::fmt;

use super::progress::Phase;
use crate::children::Children;

/// As many children are listed one by one.
const LISTED: usize = 16;

/// The states of a gather's children.
pub(super) struct States<'a, C> {
    pub(super) children: &'a C,
    pub(super) phase: Phase,
    /// Children below this index have started.
    pub(super) started: usize,
    /// Those from this index on were told, once somebody was.
    pub(super) told_from: usize,
}

impl<C: Children> States<'_, C> {
    fn is_live(&self, index: usize) -> bool {
        self.children.is_live_at(index)
    }

    fn of(&self, index: usize) -> &'static str {
        match self.phase {
            _ if !self.is_live(index) => "ended",
            Phase::Told | Phase::Draining if index >= self.told_from => "draining",
            Phase::Told | Phase::Draining | Phase::Running if index < self.started => "pending",
            _ => "unstarted",
        }
    }
}

impl<C: Children> fmt::Debug for States<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = 0..self.children.count();
        if all.len() <= LISTED {
            f.write_str("[")?;
            for index in all {
                let comma = if index == 0 { "" } else { ", " };
                write!(f, "{comma}{}", self.of(index))?;
            }
            return f.write_str("]");
        }
        f.write_str("{")?;
        for name in ["unstarted", "pending", "draining", "ended"] {
            let count = all.clone().filter(|index| self.of(*index) == name).count();
            if count > 0 {
                write!(f, "{name}: {count}, ")?;
            }
        }
        f.write_str("live at: ")?;
        let mut live = all.filter(|index| self.is_live(*index));
        f.debug_list().entries(live.by_ref().take(LISTED)).finish()?;
        f.write_str(if live.next().is_some() { " and others}" } else { "}" })
    }
}
