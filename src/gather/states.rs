//! The children of a gather, as `Debug` shows them.

use core::fmt;

use super::progress::Phase;
use crate::children::Children;

/// Up to this many children are listed one by one.
const LISTED: usize = 16;

/// The states of a gather's children.
pub(super) struct States<'a, C> {
    pub(super) children: &'a C,
    pub(super) phase: Phase,
    /// Children below this index have started.
    pub(super) started: usize,
    /// Once the handshake has begun: those below this index had been polled before.
    pub(super) polled: usize,
    /// Once a child was told: those from this index on were told.
    pub(super) told_from: usize,
}

impl<C: Children> States<'_, C> {
    /// The state of a live child.
    fn of(&self, index: usize) -> &'static str {
        match self.phase {
            Phase::Told | Phase::Draining if index >= self.told_from => "draining",
            Phase::Told | Phase::Draining if index >= self.polled => "unstarted",
            Phase::Told | Phase::Draining | Phase::Running if index < self.started => "pending",
            _ => "unstarted",
        }
    }
}

impl<C: Children> fmt::Debug for States<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.children.count();
        if count <= LISTED {
            let mut states = ["ended"; LISTED];
            self.children.each_live(&mut |index| states[index] = self.of(index));
            f.write_str("[")?;
            for (index, state) in states[..count].iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                write!(f, "{comma}{state}")?;
            }
            return f.write_str("]");
        }
        let mut counts = [("unstarted", 0), ("pending", 0), ("draining", 0), ("ended", count)];
        let (mut live, mut first) = (0, [0; LISTED]);
        self.children.each_live(&mut |index| {
            let state = self.of(index);
            counts.iter_mut().filter(|(name, _)| *name == state).for_each(|(_, count)| *count += 1);
            counts[3].1 -= 1;
            if let Some(first) = first.get_mut(live) {
                *first = index;
            }
            live += 1;
        });
        f.write_str("{")?;
        for (name, count) in counts.iter().filter(|(_, count)| *count > 0) {
            write!(f, "{name}: {count}, ")?;
        }
        f.write_str("live at: ")?;
        f.debug_list().entries(&first[..live.min(LISTED)]).finish()?;
        f.write_str(if live > LISTED { " and others}" } else { "}" })
    }
}
