package sluice.rest;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.List;
import java.util.Locale;
import org.apache.flink.shaded.netty4.io.netty.buffer.Unpooled;
import org.apache.flink.shaded.netty4.io.netty.channel.ChannelFutureListener;
import org.apache.flink.shaded.netty4.io.netty.channel.ChannelHandlerContext;
import org.apache.flink.shaded.netty4.io.netty.channel.ChannelInboundHandlerAdapter;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.DefaultFullHttpResponse;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.HttpHeaderNames;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.HttpMethod;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.HttpRequest;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.HttpResponseStatus;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.HttpServerCodec;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.HttpVersion;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.QueryStringDecoder;
import org.apache.flink.shaded.netty4.io.netty.util.ReferenceCountUtil;

/**
 * Answers 403 to requests that a browser sends for a page of another origin, and to requests for another host name (DNS
 * rebinding). Requests without these headers don't come from a browser and pass: clients, scripts, health checks.
 */
final class SameOriginHandler extends ChannelInboundHandlerAdapter {
    private final List<String> hosts;
    private boolean refused;

    SameOriginHandler(List<String> hosts) {
        this.hosts = hosts;
    }

    /** Flink adds custom handlers after the one that stores uploads; this one inserts the check before that. */
    static final class Installer extends ChannelInboundHandlerAdapter {
        private final List<String> hosts;

        Installer(List<String> hosts) {
            this.hosts = hosts;
        }

        @Override
        public void handlerAdded(ChannelHandlerContext context) {
            var codec = context.pipeline().context(HttpServerCodec.class);
            context.pipeline().addAfter(codec.name(), "sluice-same-origin", new SameOriginHandler(hosts));
        }
    }

    @Override
    public void channelRead(ChannelHandlerContext context, Object message) {
        if (message instanceof HttpRequest request && !refused) {
            var why = whyRefused(request);
            if (why != null) {
                refused = true;
                var body = Unpooled.copiedBuffer("{\"errors\":[\"" + why + "\"]}", UTF_8);
                var response =
                        new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.FORBIDDEN, body);
                response.headers()
                        .set(HttpHeaderNames.CONTENT_TYPE, "application/json")
                        .setInt(HttpHeaderNames.CONTENT_LENGTH, body.readableBytes())
                        .set(HttpHeaderNames.CONNECTION, "close");
                context.writeAndFlush(response).addListener(ChannelFutureListener.CLOSE);
            }
        }
        if (refused) {
            ReferenceCountUtil.release(message);
        } else {
            context.fireChannelRead(message);
        }
    }

    /** The reason why a request is refused; null: it is allowed. */
    private String whyRefused(HttpRequest request) {
        // These paths end a job by GET, which any page can make a browser send. Flink's clients use PATCH.
        var path = new QueryStringDecoder(request.uri()).path();
        if (path.endsWith("/yarn-cancel") || path.endsWith("/yarn-stop")) {
            return "end a job by PATCH /jobs/<id>";
        }
        var headers = request.headers();
        var host = headers.get(HttpHeaderNames.HOST);
        if (host != null && !hosts.contains(nameOf(host))) {
            return "this host name is not one of sluice.rest.hosts";
        }
        var origin = headers.get(HttpHeaderNames.ORIGIN);
        if (origin != null && !origin.equalsIgnoreCase("http://" + host) && !origin.equalsIgnoreCase("https://" + host)) {
            return "requests from web pages of another origin are refused";
        }
        // A link on another site may open the UI; all other requests from other sites are refused.
        var site = headers.get("Sec-Fetch-Site");
        var isLink = request.method().equals(HttpMethod.GET)
                && "navigate".equals(headers.get("Sec-Fetch-Mode"))
                // But not in a frame of the other page.
                && "document".equals(headers.get("Sec-Fetch-Dest"));
        if (("cross-site".equals(site) || "same-site".equals(site)) && !isLink) {
            return "requests from web pages of another origin are refused";
        }
        return null;
    }

    /** The host without its port. */
    private static String nameOf(String host) {
        return host.replaceFirst(":\\d*$", "").toLowerCase(Locale.ROOT);
    }
}
