package oxkeeper.peers.recipes;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.ServiceProvider;
import org.apache.curator.x.discovery.UriSpec;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;

/** Services below a path, as users of Curator's discovery see them. */
final class Services implements AutoCloseable {
    private final ServiceDiscovery<Payload> discovery;

    Services(CuratorFramework client, String base) throws Exception {
        discovery =
                ServiceDiscoveryBuilder.builder(Payload.class)
                        .client(client)
                        .basePath(base)
                        .build();
        discovery.start();
    }

    /** Registers an instance until this is closed, with another port for TLS and a URI. */
    void register(String name, String id, String address, int port, int weight) throws Exception {
        Payload payload = new Payload();
        payload.setZone("west");
        payload.setWeight(weight);
        discovery.registerService(
                ServiceInstance.<Payload>builder()
                        .name(name)
                        .id(id)
                        .address(address)
                        .port(port)
                        .sslPort(port + 1)
                        .payload(payload)
                        .uriSpec(new UriSpec("mail:{address}:{port}"))
                        .build());
    }

    /** All instances, all that is known of them. */
    String find(String name) throws Exception {
        List<String> all = new ArrayList<>();
        for (ServiceInstance<Payload> one : discovery.queryForInstances(name)) {
            Payload payload = one.getPayload();
            String uri = one.getUriSpec() == null ? "none" : one.buildUriSpec();
            all.add(
                    one.getId()
                            + "@"
                            + one.getAddress()
                            + ":"
                            + one.getPort()
                            + " "
                            + one.getSslPort()
                            + " "
                            + (payload == null ? "none" : payload)
                            + " "
                            + one.getServiceType()
                            + (one.isEnabled() ? " enabled " : " disabled ")
                            + uri);
        }
        return sorted(all);
    }

    String names() throws Exception {
        return sorted(discovery.queryForNames());
    }

    /** The ids of those that a provider gives out. */
    String provided(String name) throws Exception {
        List<String> ids = new ArrayList<>();
        try (ServiceProvider<Payload> provider =
                discovery.serviceProviderBuilder().serviceName(name).build()) {
            provider.start();
            for (ServiceInstance<Payload> one : provider.getAllInstances()) {
                ids.add(one.getId());
            }
        }
        return sorted(ids);
    }

    private static String sorted(Collection<String> words) {
        List<String> sorted = new ArrayList<>(words);
        Collections.sort(sorted);
        return String.join(",", sorted);
    }

    @Override
    public void close() throws Exception {
        discovery.close();
    }
}
