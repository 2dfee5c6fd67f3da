package sluice.json;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/** Strict UTF-8 validation without allocation: Jackson accepts surrogates and overlong forms, and guesses UTF-16. */
final class Utf8 {
    private static final VarHandle LONGS =
            MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    private static final long HIGH_BITS = 0x8080808080808080L;
    private static final long LOW_BITS = 0x0101010101010101L;

    private Utf8() {}

    /** Whether the bytes are well-formed UTF-8 (Unicode 15, table 3-7) without NUL, which JSON allows only escaped. */
    static boolean isValid(byte[] bytes) {
        int index = 0;
        while (index < bytes.length) {
            if (index + 8 <= bytes.length) {
                long eight = (long) LONGS.get(bytes, index);
                // No high bit and no zero byte: eight characters of ASCII.
                if (((eight | (eight - LOW_BITS)) & HIGH_BITS) == 0) {
                    index += 8;
                    continue;
                }
            }
            int length = sequence(bytes, index);
            if (length == 0) {
                return false;
            }
            index += length;
        }
        return true;
    }

    /** The length of the well-formed sequence at this index; 0: the sequence is malformed. */
    private static int sequence(byte[] bytes, int index) {
        int first = bytes[index];
        if (first > 0) {
            return 1;
        }
        int lead = first & 0xFF;
        if (lead >= 0xC2 && lead <= 0xDF) {
            return isBetween(bytes, index + 1, 0x80, 0xBF) ? 2 : 0;
        }
        if (lead >= 0xE0 && lead <= 0xEF) {
            int low = lead == 0xE0 ? 0xA0 : 0x80;
            int high = lead == 0xED ? 0x9F : 0xBF;
            return isBetween(bytes, index + 1, low, high) && isBetween(bytes, index + 2, 0x80, 0xBF) ? 3 : 0;
        }
        if (lead >= 0xF0 && lead <= 0xF4) {
            int low = lead == 0xF0 ? 0x90 : 0x80;
            int high = lead == 0xF4 ? 0x8F : 0xBF;
            return isBetween(bytes, index + 1, low, high)
                            && isBetween(bytes, index + 2, 0x80, 0xBF)
                            && isBetween(bytes, index + 3, 0x80, 0xBF)
                    ? 4
                    : 0;
        }
        return 0;
    }

    private static boolean isBetween(byte[] bytes, int index, int low, int high) {
        return index < bytes.length && (bytes[index] & 0xFF) >= low && (bytes[index] & 0xFF) <= high;
    }
}
