package sluice.json;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/** Strict UTF-8: Jackson lets surrogates and overlong forms pass, and guesses UTF-16. */
final class Utf8 {
    private Utf8() {}

    /** Whether the bytes are well-formed UTF-8. ASCII, the usual case, costs a comparison a byte. */
    static boolean isValid(byte[] bytes) {
        int ascii = 0;
        while (ascii < bytes.length && bytes[ascii] > 0) {
            ascii++;
        }
        if (ascii == bytes.length) {
            return true;
        }
        if (bytes[ascii] == 0) {
            return false; // no JSON text holds a bare NUL; UTF-16 does
        }
        try {
            StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes, ascii, bytes.length - ascii));
            return true;
        } catch (CharacterCodingException error) {
            return false;
        }
    }
}
