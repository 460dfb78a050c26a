//! Sessions of browsers. A session's tokens are like those of [`Identity::log_in`], but also contain the session's
//! number, so that one session can be ended without ending the user's other sessions.

use std::sync::Arc;

use super::account::Account;
use super::caller::Caller;
use super::denied::Denied;
use super::ended_sessions::{self, EndedSession};
use super::name::UserName;
use super::password::Password;
use super::token::Claims;
use super::{Identity, Via};
use crate::http::database::in_time;
use crate::http::edge::Origin;

/// The time for which an ended session is kept after its last token has expired. For a few seconds, another process may
/// not know yet that the session has ended, and may renew the session's token.
const MARGIN_MS: i64 = 60_000;

/// A session that has not ended.
pub struct Session {
    account: Arc<Account>,
    claims: Arc<Claims>,
}

impl Session {
    /// Returns the session's user as the caller of a request.
    pub fn caller(&self) -> Caller {
        self.account.caller()
    }
}

/// A session's token.
#[derive(Debug)]
pub struct SessionToken {
    /// The token.
    pub token: String,
    /// The number of seconds that it is valid for.
    pub seconds: i64,
}

impl Identity {
    /// Begins a session for a correct password. Returns its user and its first token.
    ///
    /// # Errors
    /// The password is wrong, or the name is blocked.
    pub async fn begin_session(
        &self,
        name: &UserName,
        password: Password,
        origin: &Origin,
    ) -> Result<(Caller, SessionToken), Denied> {
        let account = self.check(name, password, Some(Via::Login), origin).await?;
        let token = self.session_token(&account, rand::random())?;
        Ok((account.caller(), token))
    }

    /// Returns the session that a token belongs to.
    ///
    /// # Errors
    /// The token is invalid or has expired, or it belongs to no session, like the tokens from [`Identity::log_in`]. Or
    /// the user was deleted, the password was changed after the token was issued, or the session was ended.
    pub async fn session(&self, token: &str) -> Result<Session, Denied> {
        let (account, claims) = self.bearer(token).await?;
        if claims.session.is_none() {
            return Err(Denied::InvalidToken);
        }
        Ok(Session { account, claims })
    }

    /// Issues another token for a session, if the current token has less than half of its time left. If the user was
    /// deleted or the password was changed after the session was looked up, the new token is invalid, too.
    ///
    /// # Errors
    /// The token cannot be signed.
    pub fn renew_session(&self, session: &Session) -> Result<Option<SessionToken>, Denied> {
        let Session { account, claims } = session;
        match claims.session {
            Some(id) if self.0.tokens.is_half_over(claims, &self.0.clock) => self.session_token(account, id).map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// Ends the session that a token belongs to. All tokens of the session become invalid. Does nothing if the token is
    /// invalid or belongs to no session.
    ///
    /// # Errors
    /// The database failed.
    pub async fn end_session(&self, token: &str) -> Result<(), Denied> {
        let (tokens, clock) = (&self.0.tokens, &self.0.clock);
        let Some(claims) = tokens.read(token, clock) else { return Ok(()) };
        let Some(session_id) = claims.session else { return Ok(()) };
        let now_ms = clock.now_ms();
        let renewed_until_ms = now_ms.saturating_add(tokens.valid_for_seconds().saturating_mul(1_000));
        let expires_at_ms = claims.exp.saturating_mul(1_000).max(renewed_until_ms);
        let kept_until_ms = expires_at_ms.saturating_add(MARGIN_MS);
        let ended = EndedSession { user_id: claims.uid, session_id, kept_until_ms };
        in_time(ended_sessions::insert(&self.0.pool, &ended, now_ms)).await?;
        self.0.remembered.forget(&claims.sub);
        Ok(())
    }

    fn session_token(&self, account: &Account, id: i64) -> Result<SessionToken, Denied> {
        let tokens = &self.0.tokens;
        let token = tokens.issue(account, Some(id), &self.0.clock).map_err(Denied::Token)?;
        Ok(SessionToken { token, seconds: tokens.valid_for_seconds() })
    }
}
