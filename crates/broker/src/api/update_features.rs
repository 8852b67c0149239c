//! UpdateFeatures (57): the features of a cluster are what they were founded with. To ask for the
//! level that a feature has is granted, to ask for another is refused with the reason.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::Operation;
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::update_features::{FeatureUpdateKey, UpdatableFeatureResult};
use streamledger_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::access::Access;
use super::api_versions::finalized_level;
use super::{Answer, Api, Call};

impl Api for UpdateFeaturesRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=2;
    const ACCESS: Access = Access::Cluster(&[Operation::Alter]);

    fn refused(&self, error: ErrorCode) -> UpdateFeaturesResponse {
        UpdateFeaturesResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<UpdateFeaturesResponse> {
        let outcome = |update: &FeatureUpdateKey| {
            let (feature, level) = (&update.feature, update.max_version_level);
            let problem = match finalized_level(feature) {
                Some(own) if own == level => return Ok(()),
                Some(own) => format!(
                    "Invalid update version {level} for feature {feature:.64}. It is {own}, and \
                     the features of this broker don't change."
                ),
                None => format!(
                    "Invalid update version {level} for feature {feature:.64}. This broker does \
                     not support this feature."
                ),
            };
            Err(problem)
        };
        let results = self.feature_updates.iter().map(|update| {
            let problem = outcome(update).err();
            UpdatableFeatureResult {
                feature: update.feature.clone(),
                error_code: match problem {
                    Some(_) => ErrorCode::InvalidUpdateVersion,
                    None => ErrorCode::None,
                },
                error_message: problem,
            }
        });
        let results: Vec<_> = results.collect();
        // Version 2 has one answer for all: they count together or not at all.
        let first = results.iter().find(|result| result.error_code != ErrorCode::None);
        let (error_code, error_message) = match first.filter(|_| call.version.0 >= 2) {
            Some(first) => (first.error_code, first.error_message.clone()),
            None => (ErrorCode::None, None),
        };
        UpdateFeaturesResponse { throttle_time_ms: 0, error_code, error_message, results }.into()
    }
}
