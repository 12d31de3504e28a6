package oxkeeper.peers.recipes;

/** What the partner's services carry, as a user's class might. */
public final class Payload {
    private String zone;
    private int weight;

    public String getZone() {
        return zone;
    }

    public void setZone(String zone) {
        this.zone = zone;
    }

    public int getWeight() {
        return weight;
    }

    public void setWeight(int weight) {
        this.weight = weight;
    }

    @Override
    public String toString() {
        return zone + ":" + weight;
    }
}
