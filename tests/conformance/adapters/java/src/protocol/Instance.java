package protocol;

import java.util.List;

/** One module in one engine; memory is the export {@code memory}, and bounds are checked before. */
public interface Instance {
    List<String> call(String name, List<String> arguments);

    int pages();

    /** Returns the old size in pages, or -1. */
    int grow(int pages);

    byte[] read(long address, int length);

    void write(long address, byte[] bytes);

    String global(String name);

    default void drop() {}
}
