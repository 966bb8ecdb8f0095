//! The body of a checkpoint: the state of each component by key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The state of all components by name, or its changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// By the component's name.
    pub components: BTreeMap<String, ComponentState>,
}

/// The state of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentState {
    /// The shape of the state: state of another shape cannot be restored.
    pub shape: String,
    /// By key; a key without a value is removed.
    pub entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl State {
    /// Applies changes.
    pub(crate) fn apply(&mut self, changes: Self) {
        for (name, changed) in changes.components {
            let component = self.components.entry(name).or_default();
            component.shape = changed.shape;
            component.entries.extend(changed.entries);
        }
    }

    /// Returns the changes that remove all keys.
    pub(crate) fn into_removal(mut self) -> Self {
        for component in self.components.values_mut() {
            component.entries.values_mut().for_each(|value| *value = None);
        }
        self
    }

    /// Removes keys without a value, and components without a key.
    pub(super) fn forget_removed(&mut self) {
        for component in self.components.values_mut() {
            component.entries.retain(|_, value| value.is_some());
        }
        self.components.retain(|_, component| !component.entries.is_empty());
    }

    /// Returns the number of keys of all components.
    pub fn n_entries(&self) -> usize {
        self.components.values().map(|component| component.entries.len()).sum()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("names and bytes are what postcard knows")
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}
