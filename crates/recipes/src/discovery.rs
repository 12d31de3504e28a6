//! Which services there are, and where.
//!
//! An instance is a kept znode with Curator's JSON in it; who looks for instances keeps a cache of
//! them. Payloads and address patterns are passed on as they are: they mean something to their
//! users alone.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::keeper::{Keeper, join};
use crate::persistent::PersistentNode;
use crate::port::Kind;
use crate::sessions::Sessions;
use crate::tree_cache::TreeCache;

/// How long an instance stays registered.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Registry, ServiceInstance, ServiceType};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let mut gateway = ServiceInstance::new("mail", "gateway", "10.0.0.1", 25);
/// gateway.service_type = ServiceType::Permanent;
/// let registry = Registry::new(zk, "/registry-types");
/// registry.register(gateway).await?.close().await;
/// assert_eq!(registry.instances("mail").await?.len(), 1, "it outlives its handle");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceType {
    /// As long as its session.
    #[serde(rename = "DYNAMIC")]
    Dynamic,
    /// Until it is taken out, known as not changing.
    #[serde(rename = "STATIC")]
    Static,
    /// Until it is taken out.
    #[serde(rename = "PERMANENT")]
    Permanent,
    /// As long as its session, under a numbered name.
    #[serde(rename = "DYNAMIC_SEQUENTIAL")]
    DynamicSequential,
}

/// One instance of a service, in the JSON of Curator's `ServiceInstance`.
///
/// ```
/// # use oxkeeper_recipes::ServiceInstance;
/// let instance = ServiceInstance::new("mail", "7", "10.0.0.7", 25);
/// let json = serde_json::to_string(&instance).expect("JSON");
/// assert!(json.starts_with(r#"{"name":"mail","id":"7","address":"10.0.0.7","port":25"#));
/// assert!(json.contains(r#""serviceType":"DYNAMIC""#));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceInstance {
    /// The service.
    pub name: String,
    /// The instance, unique in its service.
    pub id: String,
    /// Where.
    #[serde(default)]
    pub address: Option<String>,
    /// Which port.
    #[serde(default)]
    pub port: Option<i32>,
    /// Which port for TLS.
    #[serde(default)]
    pub ssl_port: Option<i32>,
    /// Whatever else is to be known. Curator's readers want the name of a class of theirs in
    /// `@class`.
    #[serde(default)]
    pub payload: Value,
    /// When it was registered, ms since 1970.
    #[serde(default, rename = "registrationTimeUTC")]
    pub registration_time_utc: i64,
    /// How long it stays.
    #[serde(default = "dynamic")]
    pub service_type: ServiceType,
    /// A pattern of its address, as Curator's `UriSpec`.
    #[serde(default)]
    pub uri_spec: Value,
    /// False for one that is not to be used now. Written only then: old readers know no such field.
    #[serde(default = "enabled", skip_serializing_if = "is_enabled")]
    pub enabled: bool,
}

fn dynamic() -> ServiceType {
    ServiceType::Dynamic
}

fn enabled() -> bool {
    true
}

fn is_enabled(enabled: &bool) -> bool {
    *enabled
}

impl ServiceInstance {
    /// An instance that is there as long as its session.
    ///
    /// ```
    /// # use oxkeeper_recipes::{ServiceInstance, ServiceType};
    /// let instance = ServiceInstance::new("mail", "7", "10.0.0.7", 25);
    /// assert_eq!(instance.service_type, ServiceType::Dynamic);
    /// assert!(instance.enabled && instance.ssl_port.is_none());
    /// ```
    pub fn new(name: &str, id: &str, address: &str, port: u16) -> ServiceInstance {
        ServiceInstance {
            name: name.to_owned(),
            id: id.to_owned(),
            address: Some(address.to_owned()),
            port: Some(port.into()),
            ssl_port: None,
            payload: Value::Null,
            registration_time_utc: 0,
            service_type: ServiceType::Dynamic,
            uri_spec: Value::Null,
            enabled: true,
        }
    }

    fn read(path: &str, data: &[u8]) -> Result<ServiceInstance, Error> {
        serde_json::from_slice(data).map_err(|error| Error::Data {
            path: path.to_owned(),
            problem: format!("no instance of a service: {error}"),
        })
    }
}

/// A registry of services below one path (Curator's `ServiceDiscovery`): `BASE/NAME/ID`.
///
/// # Guarantees
/// An instance is registered while its session lives, and again with the next one.
///
/// # What it does not guarantee
/// An instance that is registered may have died a session timeout ago: callers have to try another.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Registry, ServiceInstance};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let registry = Registry::new(zk, "/services");
/// let here = registry.register(ServiceInstance::new("mail", "7", "10.0.0.7", 25)).await?;
/// let provider = registry.provider("mail").await?;
/// assert_eq!(provider.next().expect("one").address.as_deref(), Some("10.0.0.7"));
/// # drop(here);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Registry {
    sessions: Sessions,
    base: String,
}

impl Registry {
    /// The registry below this path.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Registry;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let registry = Registry::new(zk, "/registry-new");
    /// assert!(registry.services().await?.is_empty());
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(sessions: impl Into<Sessions>, base: &str) -> Registry {
        Registry { sessions: sessions.into(), base: base.to_owned() }
    }

    fn path(&self, service: &str) -> String {
        join(&self.base, service)
    }

    /// Registers an instance until the handle is closed or dropped; a static or permanent one stays
    /// until [`Registry::unregister`].
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Registry, ServiceInstance};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let registry = Registry::new(zk, "/registry-register");
    /// let here = registry.register(ServiceInstance::new("mail", "7", "10.0.0.7", 25)).await?;
    /// assert_eq!(registry.instances("mail").await?[0].id, "7");
    /// here.close().await;
    /// assert!(registry.instances("mail").await?.is_empty());
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// There is no session, or a name that cannot be one.
    pub async fn register(&self, mut instance: ServiceInstance) -> Result<PersistentNode, Error> {
        let keeper = self.sessions.current().await?;
        let bad = |name: &str| name.is_empty() || name.contains('/');
        if bad(&instance.name) || bad(&instance.id) {
            return Err(Error::Invalid(format!("{}/{} is no name", instance.name, instance.id)));
        }
        if instance.registration_time_utc == 0 {
            instance.registration_time_utc = keeper.port().wall_ms();
        }
        let kind = match instance.service_type {
            ServiceType::Dynamic => Kind::Ephemeral,
            ServiceType::Static | ServiceType::Permanent => Kind::Persistent,
            ServiceType::DynamicSequential => {
                return Err(Error::Invalid("a numbered instance cannot be kept".to_owned()));
            }
        };
        let data = serde_json::to_vec(&instance)
            .map_err(|error| Error::Invalid(format!("the payload is no JSON: {error}")))?;
        let path = join(&self.path(&instance.name), &instance.id);
        let mut node = PersistentNode::start(&self.sessions, &path, &data, kind).await?;
        node.made().await?;
        Ok(node)
    }

    /// Takes an instance out, whoever registered it; false if it was not there. One that registers
    /// under the same id afterwards stays, even if the answer is lost and it is asked for again.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Registry, ServiceInstance, ServiceType};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let registry = Registry::new(zk, "/registry-unregister");
    /// let mut gateway = ServiceInstance::new("mail", "gateway", "10.0.0.1", 25);
    /// gateway.service_type = ServiceType::Static;
    /// registry.register(gateway).await?.close().await;
    /// assert!(registry.unregister("mail", "gateway").await?);
    /// assert!(!registry.unregister("mail", "gateway").await?, "it was taken out before");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, or the server refuses.
    pub async fn unregister(&self, service: &str, id: &str) -> Result<bool, Error> {
        let keeper = self.sessions.current().await?;
        keeper.delete_named(&join(&self.path(service), id)).await
    }

    /// Names of services.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Registry, ServiceInstance};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let registry = Registry::new(zk, "/registry-services");
    /// let web = registry.register(ServiceInstance::new("web", "1", "10.0.0.1", 80)).await?;
    /// let mail = registry.register(ServiceInstance::new("mail", "1", "10.0.0.1", 25)).await?;
    /// assert_eq!(registry.services().await?, ["mail", "web"]);
    /// # drop((web, mail));
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, or the server refuses.
    pub async fn services(&self) -> Result<Vec<String>, Error> {
        let keeper = self.sessions.current().await?;
        let mut names = keeper.children(&self.base).await?.unwrap_or_default();
        names.sort();
        Ok(names)
    }

    /// Instances of a service.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Registry, ServiceInstance};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let registry = Registry::new(zk, "/registry-instances");
    /// let here = registry.register(ServiceInstance::new("mail", "7", "10.0.0.7", 25)).await?;
    /// let all = registry.instances("mail").await?;
    /// assert_eq!((all.len(), all[0].port), (1, Some(25)));
    /// assert!(registry.instances("no such service").await?.is_empty());
    /// # drop(here);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, an instance cannot be read, or the server refuses.
    pub async fn instances(&self, service: &str) -> Result<Vec<ServiceInstance>, Error> {
        let keeper: Keeper = self.sessions.current().await?;
        let mut names = keeper.children(&self.path(service)).await?.unwrap_or_default();
        names.sort();
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            let path = join(&self.path(service), &name);
            if let Some((data, _)) = keeper.get(&path).await? {
                all.push(ServiceInstance::read(&path, &data)?);
            }
        }
        Ok(all)
    }

    /// Hands out instances of a service from a cache, one after another.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Registry, ServiceInstance};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let registry = Registry::new(zk, "/registry-provider");
    /// let here = registry.register(ServiceInstance::new("mail", "7", "10.0.0.7", 25)).await?;
    /// let provider = registry.provider("mail").await?;
    /// assert_eq!(provider.next().expect("one").id, "7");
    /// # drop(here);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// There is no session.
    pub async fn provider(&self, service: &str) -> Result<Provider, Error> {
        let dir = self.path(service);
        let cache = TreeCache::start(&self.sessions, &dir).await?;
        cache.loaded().await?;
        Ok(Provider { cache, dir, turn: AtomicUsize::new(0) })
    }
}

/// Hands out instances (Curator's `ServiceProvider` with its round-robin strategy).
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Registry, ServiceInstance};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let registry = Registry::new(zk, "/provider");
/// let one = registry.register(ServiceInstance::new("mail", "1", "10.0.0.1", 25)).await?;
/// let two = registry.register(ServiceInstance::new("mail", "2", "10.0.0.2", 25)).await?;
/// let provider = registry.provider("mail").await?;
/// let turns: Vec<_> = (0..3).filter_map(|_| provider.next()).map(|next| next.id).collect();
/// assert_eq!(turns, ["1", "2", "1"]);
/// # drop((one, two));
/// # Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct Provider {
    cache: TreeCache,
    dir: String,
    turn: AtomicUsize,
}

impl Provider {
    /// All instances that are enabled and can be read, in order of ids.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Registry, ServiceInstance};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let registry = Registry::new(zk, "/provider-all");
    /// let mut resting = ServiceInstance::new("mail", "1", "10.0.0.1", 25);
    /// resting.enabled = false;
    /// let one = registry.register(resting).await?;
    /// let two = registry.register(ServiceInstance::new("mail", "2", "10.0.0.2", 25)).await?;
    /// let all = registry.provider("mail").await?.all();
    /// assert_eq!(all.iter().map(|one| &*one.id).collect::<Vec<_>>(), ["2"]);
    /// # drop((one, two));
    /// # Ok(())
    /// # });
    /// ```
    pub fn all(&self) -> Vec<ServiceInstance> {
        let nodes = self.cache.children(&self.dir).into_iter();
        let read = nodes.filter_map(|(path, node)| ServiceInstance::read(&path, &node.data).ok());
        read.filter(|instance| instance.enabled).collect()
    }

    /// The next instance; `None` if there is none.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Registry;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let provider = Registry::new(zk, "/provider-next").provider("mail").await?;
    /// assert!(provider.next().is_none(), "nobody is registered");
    /// # Ok(())
    /// # });
    /// ```
    pub fn next(&self) -> Option<ServiceInstance> {
        let mut all = self.all();
        if all.is_empty() {
            return None;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % all.len();
        Some(all.swap_remove(turn))
    }

    /// The cache behind it.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Change, Registry, ServiceInstance};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let registry = Registry::new(zk, "/provider-cache");
    /// let provider = registry.provider("mail").await?;
    /// let mut changes = provider.cache().changes();
    /// let here = registry.register(ServiceInstance::new("mail", "7", "10.0.0.7", 25)).await?;
    /// // The directory of the service, and the instance in it.
    /// assert!(matches!(changes.next().await, Change::Added(path, _) if path.ends_with("/mail")));
    /// assert!(matches!(changes.next().await, Change::Added(path, _) if path.ends_with("/7")));
    /// # drop(here);
    /// # Ok(())
    /// # });
    /// ```
    pub fn cache(&self) -> &TreeCache {
        &self.cache
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_written_and_read_as_curator_does() {
        let mut instance = ServiceInstance::new("mail", "7", "10.0.0.7", 25);
        instance.registration_time_utc = 1_700_000_000_000;
        let json = concat!(
            r#"{"name":"mail","id":"7","address":"10.0.0.7","port":25,"sslPort":null,"#,
            r#""payload":null,"registrationTimeUTC":1700000000000,"serviceType":"DYNAMIC","#,
            r#""uriSpec":null}"#
        );
        assert_eq!(serde_json::to_string(&instance).unwrap(), json);
        assert_eq!(ServiceInstance::read("/x", json.as_bytes()).unwrap(), instance);
        let new = json.replace("}", r#","enabled":false,"more":1}"#);
        assert!(!ServiceInstance::read("/x", new.as_bytes()).unwrap().enabled);
        assert!(ServiceInstance::read("/x", b"10.0.0.7").is_err());
    }
}
