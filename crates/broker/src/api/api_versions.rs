//! ApiVersions (18): what is served, in which versions, and the cluster's features.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_protocol::messages::api_versions::{
    ApiVersionRange, FinalizedFeatureKey, SupportedFeatureKey,
};
use streamledger_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use streamledger_protocol::{ApiVersion, ErrorCode};

use super::access::Access;
use super::{Answer, Api, Call, SERVED};

/// A feature of the cluster (KIP-584), the least level that is supported, and the one it has.
struct Feature {
    name: &'static str,
    level_min: i16,
    level: i16,
}

/// metadata.version says which Kafka this broker is like: 30 is 4.3-IV0 (and 7 is 3.3-IV3, the
/// oldest that Kafka 4 itself supports). A feature appears here
/// with the APIs it stands for, because clients act on it: transaction.version 2 has them add
/// partitions by writing to them and raise their epoch with each transaction (KIP-890), and
/// group.version 1 lets them join groups by the next-generation protocol (KIP-848).
const FEATURES: [Feature; 3] = [
    Feature { name: "group.version", level_min: 0, level: 1 },
    Feature { name: "metadata.version", level_min: 7, level: 30 },
    Feature { name: "transaction.version", level_min: 0, level: 2 },
];

/// Set once, at founding: no feature changes while a cluster lives.
const FEATURES_EPOCH: i64 = 0;

impl Api for ApiVersionsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=4;
    const ACCESS: Access = Access::Open("it is asked before the login");

    fn refused(&self, error: ErrorCode) -> ApiVersionsResponse {
        ApiVersionsResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<ApiVersionsResponse> {
        let names = [&self.client_software_name, &self.client_software_version];
        if call.version.0 >= 3 && !names.into_iter().all(|name| is_software_name(name)) {
            return self.refused(ErrorCode::InvalidRequest).into();
        }
        ApiVersionsResponse {
            api_keys: advertised(),
            supported_features: FEATURES
                .iter()
                .map(|feature| SupportedFeatureKey {
                    name: feature.name.to_owned(),
                    min_version: feature.level_min,
                    max_version: feature.level,
                })
                .collect(),
            finalized_features_epoch: FEATURES_EPOCH,
            finalized_features: FEATURES
                .iter()
                .map(|feature| FinalizedFeatureKey {
                    name: feature.name.to_owned(),
                    max_version_level: feature.level,
                    min_version_level: feature.level,
                })
                .collect(),
            ..Default::default()
        }
        .into()
    }
}

/// The level of a feature, if there is such a feature.
pub(super) fn finalized_level(name: &str) -> Option<i16> {
    FEATURES.iter().find(|feature| feature.name == name).map(|feature| feature.level)
}

/// The answer to a version that is not served: the error and the whole list, for version 0.
pub(super) fn unsupported_version() -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion,
        api_keys: advertised(),
        ..Default::default()
    }
}

fn advertised() -> Vec<ApiVersionRange> {
    let range = |served: &super::ServedApi| ApiVersionRange {
        api_key: served.key.code(),
        min_version: ApiVersion(served.advertised_from),
        max_version: ApiVersion(*served.versions.end()),
    };
    SERVED.iter().map(range).collect()
}

/// Kafka's rule for `client_software_name` and `..._version` (KIP-511): `[a-zA-Z0-9]` at both
/// ends, with `.` and `-` between.
fn is_software_name(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_1_produce_is_advertised_from_0_and_nothing_else_beyond_what_is_served() {
        for (range, served) in advertised().iter().zip(SERVED) {
            let advertised_below = range.min_version.0 < *served.versions.start();
            assert_eq!(advertised_below, range.api_key == 0, "API {}", range.api_key);
        }
        assert_eq!(advertised()[0].min_version, ApiVersion(0));
        assert_eq!(advertised()[0].max_version, ApiVersion(13));
    }

    #[test]
    fn a_software_name_is_letters_digits_dots_and_dashes() {
        assert!(is_software_name("apache-kafka-java") && is_software_name("4.3.0"));
        assert!(!is_software_name("") && !is_software_name("-x") && !is_software_name("a b"));
    }
}
