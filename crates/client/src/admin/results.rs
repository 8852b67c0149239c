//! What came of each topic of a call, in the order of the call.

use streamledger_protocol::TopicName;

use super::AdminError;

/// What came of each topic (or other resource) of a call, in the order of the call.
#[derive(Debug, Clone)]
pub struct Results<T, K = TopicName>(Vec<(K, Result<T, AdminError>)>);

impl<T, K> Results<T, K> {
    pub(super) fn new(results: Vec<(K, Result<T, AdminError>)>) -> Self {
        Self(results)
    }

    /// What came of each.
    pub fn iter(&self) -> impl Iterator<Item = (&K, Result<&T, &AdminError>)> {
        self.0.iter().map(|(key, result)| (key, result.as_ref()))
    }

    /// All of them.
    ///
    /// # Errors
    /// The first that failed, with its name.
    pub fn all(self) -> Result<Vec<T>, (K, AdminError)> {
        let each = self.0.into_iter();
        each.map(|(key, result)| result.map_err(|error| (key, error))).collect()
    }

    /// The only one of a call with one.
    ///
    /// # Errors
    /// What went wrong with it, or that there is none.
    pub fn only(self) -> Result<T, AdminError> {
        self.0.into_iter().next().map_or(Err(AdminError::LeftOut), |(_, result)| result)
    }
}

impl<T, K> IntoIterator for Results<T, K> {
    type Item = (K, Result<T, AdminError>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
