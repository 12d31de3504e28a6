package oxkeeper.peers.client;

import static oxkeeper.peers.Expect.equal;
import static oxkeeper.peers.Expect.eventually;
import static oxkeeper.peers.Expect.fails;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.admin.ZooKeeperAdmin;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.auth.DigestAuthenticationProvider;

import oxkeeper.peers.Checks;
import oxkeeper.peers.Expect;
import oxkeeper.peers.World;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** ACLs, right and wrong, and what authentication answers. */
final class Access {
    private static final byte[] DATA = "data".getBytes(UTF_8);

    private Access() {}

    static void register(Checks checks) {
        checks.add("wrong ACLs are refused", Access::wrong);
        checks.add("each operation needs its permission", Access::permissions);
        checks.add("the ACL of a node: versions, masking, the auth scheme", Access::reading);
        checks.add("a refused part of a multi refuses it all", Access::multi);
        checks.add("an unknown scheme fails the authentication", Access::unknownScheme);
        checks.add("reconfig is refused as disabled", Access::reconfig);
    }

    private static List<ACL> only(int perms) {
        return new ArrayList<>(List.of(acl(perms, "world", "anyone")));
    }

    private static ACL acl(int perms, String scheme, String id) {
        return new ACL(perms, new Id(scheme, id));
    }

    private static void wrong(World world) throws Exception {
        ZooKeeper zk = world.zk();
        List<List<ACL>> wrong =
                List.of(
                        List.of(),
                        List.of(acl(Perms.ALL, "nosuch", "x")),
                        List.of(acl(Perms.ALL, "world", "everyone")),
                        List.of(acl(Perms.ALL, "digest", "nocolon")),
                        List.of(acl(Perms.ALL, "ip", "1.2.3.4.5")),
                        List.of(acl(Perms.ALL, "ip", "127.0.0.1/99")),
                        List.of(acl(Perms.READ, "world", "anyone"), acl(Perms.ALL, "ip", "here")),
                        Ids.CREATOR_ALL_ACL);
        for (List<ACL> one : wrong) {
            // The client looks for nulls, which immutable lists refuse to answer.
            List<ACL> acls = new ArrayList<>(one);
            fails(
                    Code.INVALIDACL,
                    () -> zk.create(world.path("n"), DATA, acls, CreateMode.PERSISTENT));
            fails(Code.INVALIDACL, () -> zk.setACL(world.path(), acls, -1));
        }
        equal(zk.getChildren(world.path(), false), List.of(), "children");
        equal(zk.exists(world.path(), false).getAversion(), 0, "version of the ACL");
    }

    private static void permissions(World world) throws Exception {
        ZooKeeper zk = world.zk();
        for (int missing :
                new int[] {Perms.READ, Perms.WRITE, Perms.CREATE, Perms.DELETE, Perms.ADMIN}) {
            String node = world.path("without-" + missing);
            Watches.create(zk, node);
            Watches.create(zk, node + "/child");
            zk.setACL(node, only(Perms.ALL & ~missing), -1);
            allowed(missing != Perms.READ, () -> zk.getData(node, false, null));
            allowed(missing != Perms.READ, () -> zk.getChildren(node, false));
            allowed(missing != Perms.WRITE, () -> zk.setData(node, DATA, -1));
            allowed(missing != Perms.CREATE, () -> Watches.create(zk, node + "/new"));
            allowed(missing != Perms.DELETE, () -> zk.delete(node + "/child", -1));
            allowed(missing != Perms.ADMIN, () -> zk.setACL(node, Ids.OPEN_ACL_UNSAFE, -1));
        }
    }

    private static void allowed(boolean yes, Expect.Action action) throws Exception {
        if (yes) {
            action.run();
        } else {
            fails(Code.NOAUTH, action);
        }
    }

    private static void reading(World world) throws Exception {
        ZooKeeper zk = world.zk();
        ZooKeeper owner = world.client();
        owner.addAuthInfo("digest", "fred:pw".getBytes(UTF_8));
        List<ACL> acls = new ArrayList<>(Ids.CREATOR_ALL_ACL);
        acls.add(acl(Perms.READ, "world", "anyone"));
        owner.create(world.path("n"), DATA, acls, CreateMode.PERSISTENT);
        String hash = DigestAuthenticationProvider.generateDigest("fred:pw");
        Stat stat = new Stat();
        ACL anyone = acl(Perms.READ, "world", "anyone");
        equal(
                owner.getACL(world.path("n"), stat),
                List.of(acl(Perms.ALL, "digest", hash), anyone),
                "seen by its owner");
        equal(stat, owner.exists(world.path("n"), false), "stat");
        equal(
                zk.getACL(world.path("n"), null),
                List.of(acl(Perms.ALL, "digest", "fred:x"), anyone),
                "seen by others");
        fails(Code.BADVERSION, () -> owner.setACL(world.path("n"), Ids.OPEN_ACL_UNSAFE, 5));
        equal(
                owner.setACL(world.path("n"), Ids.OPEN_ACL_UNSAFE, 0).getAversion(),
                1,
                "version after a set");
    }

    private static void multi(World world) throws Exception {
        ZooKeeper zk = world.zk();
        Watches.create(zk, world.path("locked"));
        zk.setACL(world.path("locked"), only(Perms.READ), -1);
        fails(
                Code.NOAUTH,
                () ->
                        zk.multi(
                                List.of(
                                        Op.create(
                                                world.path("a"),
                                                DATA,
                                                Ids.OPEN_ACL_UNSAFE,
                                                CreateMode.PERSISTENT),
                                        Op.setData(world.path("locked"), DATA, -1))));
        fails(
                Code.INVALIDACL,
                () ->
                        zk.multi(
                                List.of(
                                        Op.create(
                                                world.path("a"),
                                                DATA,
                                                Ids.OPEN_ACL_UNSAFE,
                                                CreateMode.PERSISTENT),
                                        Op.create(
                                                world.path("b"),
                                                DATA,
                                                Ids.CREATOR_ALL_ACL,
                                                CreateMode.PERSISTENT))));
        equal(zk.getChildren(world.path(), false), List.of("locked"), "children");
    }

    private static void unknownScheme(World world) throws Exception {
        List<KeeperState> states = Collections.synchronizedList(new ArrayList<>());
        ZooKeeper zk =
                world.client(
                        world.address(),
                        World.SESSION_MILLIS,
                        event -> states.add(event.getState()));
        zk.addAuthInfo("nosuch", DATA);
        eventually(() -> states.contains(KeeperState.AuthFailed), "the client is told");
        fails(Code.AUTHFAILED, () -> zk.getData(world.path(), false, null));
    }

    private static void reconfig(World world) throws Exception {
        ZooKeeperAdmin admin =
                world.closing(
                        new ZooKeeperAdmin(world.address(), World.SESSION_MILLIS, event -> {}));
        fails(
                Code.RECONFIGDISABLED,
                () ->
                        admin.reconfigure(
                                "server.9=127.0.0.1:1:2:observer;3", null, null, -1, new Stat()));
    }
}
