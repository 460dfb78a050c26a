//! The events that are sent.

use uuid::Uuid;

/// An event to send.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) id: Uuid,
    pub(super) body: String,
}

impl Event {
    pub(super) fn new() -> Self {
        let id = Uuid::new_v4();
        let body = format!(
            r#"{{"id":"{id}","address":{{"city":"Baltimore","state":"Maryland","country":"United States","postCode":"21201"}},"datetime":"2019-05-07 19:54:13.563"}}"#
        );
        Self { id, body }
    }
}
