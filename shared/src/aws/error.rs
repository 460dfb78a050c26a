//! Why something was not found at AWS, and whose fault that is.

use aws_sdk_kafka::config::http::HttpResponse;
use aws_sdk_kafka::error::{ProvideErrorMetadata, SdkError};

/// Who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Amazon MSK.
    Msk,
    /// AWS Secrets Manager.
    SecretsManager,
    /// Whoever gives credentials.
    Credentials,
}

impl std::fmt::Display for Service {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Msk => "Amazon MSK",
            Self::SecretsManager => "AWS Secrets Manager",
            Self::Credentials => "the source of AWS credentials",
        })
    }
}

/// Why something was not found at AWS. Each is one line that begins with the variable that asks for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookUpError {
    /// No answer, or that it cannot answer now.
    #[error("{variable}: {service} does not answer: {cause}")]
    Unavailable {
        /// The variable.
        variable: &'static str,
        /// Who was asked.
        service: Service,
        /// What happened.
        cause: String,
    },
    /// It says no: there is no such thing, or we may not see it.
    #[error("{variable}: {service} refuses: {cause}")]
    Refused {
        /// The variable.
        variable: &'static str,
        /// Who was asked.
        service: Service,
        /// What it said.
        cause: String,
    },
    /// What was found is not what it should be. It is not repeated: it may be secret.
    #[error("{variable} names what does not serve: {expected}")]
    Unfit {
        /// The variable.
        variable: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

impl LookUpError {
    /// Whether it may be otherwise in a moment, without anybody doing anything.
    pub fn passes(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Refused { .. } | Self::Unfit { .. } => false,
        }
    }

    /// Of an error of the SDK's.
    pub(super) fn of<E>(variable: &'static str, service: Service, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let said = answer.err();
                let code = said.code().unwrap_or("an error without a code");
                let cause = said.message().map_or_else(|| code.to_owned(), |message| format!("{code}: {message}"));
                // 4xx says that asking again will not help, but for being asked too much.
                if status >= 500 || status == 429 || code.contains("Throttl") || code.contains("TooManyRequests") {
                    Self::Unavailable { variable, service, cause }
                } else {
                    Self::Refused { variable, service, cause }
                }
            }
            // No region, no credentials: nobody was asked.
            SdkError::ConstructionFailure(_) => Self::Refused { variable, service, cause: chain(error) },
            // And what a newer SDK may add.
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) | _ => {
                Self::Unavailable { variable, service, cause: chain(error) }
            }
        }
    }
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_cause_of_several_lines_is_told_in_one() {
        let cause =
            io::Error::other("no credentials found in chain. Attempted:\n  Environment: not set\n  Profile: none");
        let error = LookUpError::Unavailable { variable: "A", service: Service::Msk, cause: chain(&cause) };
        assert_eq!(
            error.to_string(),
            "A: Amazon MSK does not answer: no credentials found in chain. Attempted: Environment: not set Profile: none"
        );
    }
}
