//! Failed lookups at AWS: the cause, and whether retrying helps.

/// An AWS service that Sluice queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Amazon MSK.
    Msk,
    /// AWS Secrets Manager.
    SecretsManager,
    /// The source of AWS credentials.
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

/// Why a lookup at AWS failed. Each message is one line, and starts with the environment variable that required the
/// lookup.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookUpError {
    /// The service does not answer, or answers with a temporary error.
    #[error("{variable}: {service} does not answer: {cause}")]
    Unavailable {
        /// The variable.
        variable: &'static str,
        /// The service.
        service: Service,
        /// What happened.
        cause: String,
    },
    /// The service refuses: the resource does not exist, or the role may not read it.
    #[error("{variable}: {service} refuses: {cause}")]
    Refused {
        /// The variable.
        variable: &'static str,
        /// The service.
        service: Service,
        /// The service's message.
        cause: String,
    },
    /// The variable names an unsuitable resource. The message does not repeat the resource's value, which may be
    /// secret.
    #[error("{variable} names an unsuitable resource: the resource must be {expected}")]
    Unfit {
        /// The variable.
        variable: &'static str,
        /// What the resource must be.
        expected: &'static str,
    },
    /// The variable's value needs a region, and the environment names none.
    #[error("{variable} is iam, so AWS_REGION must name a region, such as eu-central-1")]
    NoRegion {
        /// The variable.
        variable: &'static str,
    },
    /// This build contains no AWS SDK.
    #[error("{variable} needs a build with the AWS SDK, which the feature `aws` enables")]
    NotBuiltIn {
        /// The variable.
        variable: &'static str,
    },
}

impl LookUpError {
    /// Returns whether the error may go away by itself.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Refused { .. } | Self::Unfit { .. } | Self::NoRegion { .. } | Self::NotBuiltIn { .. } => false,
        }
    }
}
