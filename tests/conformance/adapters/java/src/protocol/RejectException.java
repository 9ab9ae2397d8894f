package protocol;

/** The module was refused at the stage compile, link or start. */
public final class RejectException extends RuntimeException {
    final String stage;

    public RejectException(String stage, Throwable cause) {
        super(String.valueOf(cause.getMessage()), cause);
        this.stage = stage;
    }
}
