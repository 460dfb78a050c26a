//! Classifies the AWS SDK's errors.

use aws_sdk_kafka::config::http::HttpResponse;
use aws_sdk_kafka::error::{ProvideErrorMetadata, SdkError};

use super::super::{LookUpError, Service};

impl LookUpError {
    /// Classifies an error of the SDK.
    pub(super) fn from_sdk<E>(variable: &'static str, service: Service, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let said = answer.err();
                let code = said.code().unwrap_or("an error without a code");
                let cause = said.message().map_or_else(|| code.to_owned(), |message| format!("{code}: {message}"));
                // After a 4xx status, retrying helps only if the service throttles requests.
                if status >= 500 || status == 429 || code.contains("Throttl") || code.contains("TooManyRequests") {
                    Self::Unavailable { variable, service, cause }
                } else {
                    Self::Refused { variable, service, cause }
                }
            }
            // There is no region or there are no credentials, so no request was sent.
            SdkError::ConstructionFailure(_) => Self::Refused { variable, service, cause: chain(error) },
            // The wildcard covers variants that a newer SDK may add.
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) | _ => {
                Self::Unavailable { variable, service, cause: chain(error) }
            }
        }
    }
}

/// Formats an error with its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_cause_of_several_lines_becomes_one_line() {
        let cause =
            io::Error::other("no credentials found in chain. Attempted:\n  Environment: not set\n  Profile: none");
        let error = LookUpError::Unavailable { variable: "A", service: Service::Msk, cause: chain(&cause) };
        assert_eq!(
            error.to_string(),
            "A: Amazon MSK does not answer: no credentials found in chain. Attempted: Environment: not set Profile: none"
        );
    }
}
