//! A client for the admin API.

use std::ffi::{CString, c_char};
use std::ptr;

use rdkafka::admin::AdminClient;
use rdkafka::bindings::{rd_kafka_oauthbearer_set_token, rd_kafka_resp_err_t};
use rdkafka::client::{Client, OAuthToken};
use rdkafka::error::KafkaError;

use super::{Context, KafkaSettings};

/// Creates a client for the admin API. If tokens are used, the client gets a single token, because rdkafka's admin
/// client never requests any (<https://github.com/fede1024/rust-rdkafka/issues/757>). So the client can be used only
/// until that token expires.
///
/// # Errors
/// librdkafka rejects a setting, or no token is available.
pub(super) async fn client(settings: &KafkaSettings) -> Result<AdminClient<Context>, KafkaError> {
    let context = settings.context();
    let admin: AdminClient<Context> = settings.client_config().create_with_context(context.clone())?;
    if !context.has_tokens() {
        return Ok(admin);
    }
    // Waiting for the token blocks the thread.
    let token = tokio::task::spawn_blocking(move || context.token().map_err(|error| error.to_string()));
    let token = token.await.unwrap_or_else(|panic| Err(panic.to_string()));
    set_token(admin.inner(), token.map_err(KafkaError::ClientCreation)?)?;
    Ok(admin)
}

/// Gives a client its token.
#[expect(unsafe_code, reason = "rdkafka has no safe function that sets a token")]
pub(super) fn set_token(client: &Client<Context>, token: OAuthToken) -> Result<(), KafkaError> {
    let text = |text: String| CString::new(text).map_err(KafkaError::Nul);
    let (value, principal) = (text(token.token)?, text(token.principal_name)?);
    let mut said: [c_char; 512] = [0; 512];
    // SAFETY: the client lives as long as the reference to it. Both texts and the buffer live until the call returns,
    // and librdkafka copies what it keeps. The call passes no SASL extensions.
    let answer = unsafe {
        rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
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
        let reason = String::from_utf8_lossy(&said.map(|byte| byte as u8)).trim_end_matches('\0').to_owned();
        Err(KafkaError::ClientCreation(format!("librdkafka rejected the token: {reason}")))
    }
}
