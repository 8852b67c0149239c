//! ACLs as requests and answers carry them, and those who keep them.

use streamledger_broker_core::authorizer::{
    Acl, AclFilter, Operation, PatternType, Permission, RawAclFilter, ResourceType,
};
use streamledger_broker_core::controller::Refusal;
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::create_acls::AclCreation;

/// Reads a rule that is to be made (Kafka's `AclControlManager.validateNewAcl`).
pub(super) fn new_acl(creation: AclCreation) -> Result<Acl, Refusal> {
    fn known<T>(found: Option<T>, what: &str, code: i8) -> Result<T, Refusal> {
        found.ok_or_else(|| {
            Refusal::new(ErrorCode::InvalidRequest, format!("Invalid {what}: {code}."))
        })
    }
    let AclCreation { resource_type, resource_pattern_type, operation, permission_type, .. } =
        creation;
    Ok(Acl {
        resource: known(ResourceType::from_code(resource_type), "resourceType", resource_type)?,
        pattern: known(
            PatternType::from_code(resource_pattern_type),
            "patternType",
            resource_pattern_type,
        )?,
        operation: known(Operation::from_code(operation), "operation", operation)?,
        permission: known(
            Permission::from_code(permission_type),
            "permissionType",
            permission_type,
        )?,
        name: creation.resource_name,
        principal: creation.principal,
        host: creation.host,
    })
}

/// Reads a filter.
pub(super) fn filter(raw: RawAclFilter) -> Result<AclFilter, Refusal> {
    AclFilter::parse(raw)
        .map_err(|what| Refusal::new(ErrorCode::InvalidRequest, format!("A filter with {what}.")))
}
