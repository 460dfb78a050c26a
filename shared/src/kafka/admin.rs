//! A client for the admin API.

use std::ffi::{CString, c_char};
use std::ptr;

use rdkafka::admin::AdminClient;
use rdkafka::bindings::{rd_kafka_oauthbearer_set_token, rd_kafka_resp_err_t};
use rdkafka::client::OAuthToken;
use rdkafka::error::KafkaError;

use super::{Context, KafkaSettings};

/// A client for the admin API. Where tokens are used, it has one for its life, which is to be short: rdkafka's does not
/// ask for tokens (<https://github.com/fede1024/rust-rdkafka/issues/757>).
///
/// # Errors
/// A setting that librdkafka refuses, or no token is to be had.
pub(super) async fn client(settings: &KafkaSettings) -> Result<AdminClient<Context>, KafkaError> {
    let context = settings.context();
    let admin: AdminClient<Context> = settings.client_config().create_with_context(context.clone())?;
    if !context.has_tokens() {
        return Ok(admin);
    }
    // It waits for the token on its thread.
    let token = tokio::task::spawn_blocking(move || context.token().map_err(|error| error.to_string()));
    let token = token.await.unwrap_or_else(|panic| Err(panic.to_string()));
    give(&admin, token.map_err(KafkaError::ClientCreation)?)?;
    Ok(admin)
}

#[expect(unsafe_code, reason = "rdkafka has no safe function for it")]
fn give(admin: &AdminClient<Context>, token: OAuthToken) -> Result<(), KafkaError> {
    let text = |text: String| CString::new(text).map_err(KafkaError::Nul);
    let (value, principal) = (text(token.token)?, text(token.principal_name)?);
    let mut said: [c_char; 512] = [0; 512];
    // SAFETY: the client lives as long as the reference to it, both texts and the buffer until the call returns, and
    // librdkafka copies what it keeps. There are no extensions.
    let answer = unsafe {
        rd_kafka_oauthbearer_set_token(
            admin.inner().native_ptr(),
            value.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            ptr::null_mut(),
            0,
            said.as_mut_ptr(),
            said.len(),
        )
    };
    if answer == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        Ok(())
    } else {
        Err(KafkaError::ClientCreation("librdkafka does not take the token".to_owned()))
    }
}
