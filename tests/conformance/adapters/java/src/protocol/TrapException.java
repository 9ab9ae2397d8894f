package protocol;

/** The module trapped. */
public final class TrapException extends RuntimeException {
    final String kind;

    public TrapException(String kind, String message) {
        super(message);
        this.kind = kind;
    }
}
