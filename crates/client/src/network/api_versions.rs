//! The first request of a connection: which versions of which API the broker has (KIP-35, KIP-511).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use streamledger_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use streamledger_protocol::{ApiKey, ApiVersion, ErrorCode};

use super::{BrokerConnection, NetworkError};

pub(super) const NEWEST: ApiVersion = ApiVersion(4);
pub(super) const OLDEST: ApiVersion = ApiVersion(0);

/// The versions that a broker has, and the features its cluster has agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokerVersions {
    ranges: BTreeMap<i16, (ApiVersion, ApiVersion)>,
    finalized_features: BTreeMap<String, i16>,
}

impl BrokerVersions {
    fn new(response: ApiVersionsResponse) -> Self {
        let ranges = response.api_keys.into_iter();
        let features = response.finalized_features.into_iter();
        Self {
            ranges: ranges.map(|r| (r.api_key, (r.min_version, r.max_version))).collect(),
            finalized_features: features.map(|f| (f.name, f.max_version_level)).collect(),
        }
    }

    /// The level of a feature that the cluster has agreed on, if it has (KIP-584).
    pub(crate) fn finalized_feature(&self, name: &str) -> Option<i16> {
        self.finalized_features.get(name).copied()
    }

    /// The highest version that both sides know.
    pub(crate) fn highest_common(&self, api: ApiKey) -> Option<ApiVersion> {
        let (min, max) = *self.ranges.get(&api.code())?;
        let ours = api.valid_versions();
        let common = max.0.min(*ours.end());
        (common >= min.0 && common >= *ours.start()).then_some(ApiVersion(common))
    }
}

/// Asks in the given version, and again in one that the broker names if it doesn't know that one.
///
/// A broker that doesn't know the version answers in version 0, with `UNSUPPORTED_VERSION` and at
/// least its versions of this API.
pub(super) async fn ask(
    connection: &BrokerConnection,
    version: ApiVersion,
    timeout: Duration,
) -> Result<BrokerVersions, NetworkError> {
    let frame = connection.call_raw(version, &request(), timeout).await?;
    if !is_unsupported(&frame) || version == OLDEST {
        return read(connection, frame, version);
    }
    let answer: ApiVersionsResponse = connection.decode(frame, OLDEST)?;
    let agreed = BrokerVersions::new(answer).highest_common(ApiKey::ApiVersions);
    let version = agreed.filter(|agreed| *agreed < version).unwrap_or(OLDEST);
    let frame = connection.call_raw(version, &request(), timeout).await?;
    read(connection, frame, version)
}

fn request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "streamledger".to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The error code follows the correlation id, in every version.
fn is_unsupported(frame: &Bytes) -> bool {
    let code = frame.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(i16::from_be_bytes);
    code == Some(ErrorCode::UnsupportedVersion.code())
}

fn read(
    connection: &BrokerConnection,
    frame: Bytes,
    version: ApiVersion,
) -> Result<BrokerVersions, NetworkError> {
    connection.decode(frame, version).map(BrokerVersions::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamledger_protocol::messages::api_versions::ApiVersionRange;

    #[test]
    fn the_highest_common_version_is_in_both_ranges() {
        let (ours_min, ours_max) = ApiKey::Produce.valid_versions().into_inner();
        let common = |min: i16, max: i16| {
            let range = ApiVersionRange {
                api_key: ApiKey::Produce.code(),
                min_version: ApiVersion(min),
                max_version: ApiVersion(max),
            };
            let response = ApiVersionsResponse { api_keys: vec![range], ..Default::default() };
            BrokerVersions::new(response).highest_common(ApiKey::Produce).map(|version| version.0)
        };
        assert_eq!(common(0, 7), Some(7));
        assert_eq!(common(0, ours_max + 3), Some(ours_max));
        assert_eq!(common(ours_min, ours_min), Some(ours_min));
        assert_eq!(common(0, ours_min - 1), None);
        assert_eq!(common(ours_max + 1, ours_max + 2), None);
        assert_eq!(common(5, 4), None, "an empty range");
        assert_eq!(common(i16::MIN, i16::MAX), Some(ours_max));
    }
}
