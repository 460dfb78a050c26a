//! Where a client's settings come from. They are known from the start, or looked up at AWS when a client is created.

use super::{KafkaSettings, KafkaSource};
use crate::aws::{Aws, LookUpError};

/// Where settings come from.
pub(super) enum SettingsOrigin {
    Known(KafkaSettings),
    LookedUp { source: KafkaSource, aws: Aws },
}

impl SettingsOrigin {
    /// Returns the settings for a client. If AWS does not answer, falls back to `last`, which may still be valid.
    pub(super) async fn settings(&self, last: Option<KafkaSettings>) -> Result<KafkaSettings, LookUpError> {
        match self {
            Self::Known(settings) => Ok(settings.clone()),
            Self::LookedUp { source, aws } => match (source.look_up(aws).await, last) {
                (Ok(settings), _) => Ok(settings),
                (Err(error), Some(last)) if error.is_temporary() => {
                    tracing::warn!("{error}; using the settings of the last lookup");
                    Ok(last)
                }
                (Err(error), _) => Err(error),
            },
        }
    }
}
