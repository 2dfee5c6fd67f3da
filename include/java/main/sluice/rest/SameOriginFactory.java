package sluice.rest;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.io.network.netty.InboundChannelHandlerFactory;
import org.apache.flink.shaded.netty4.io.netty.channel.ChannelHandler;

/**
 * Protects a REST API without a login from web pages: a page in a browser can send requests to this machine, and Flink
 * deserializes Java objects from requests to /jobs. Loaded by Flink's ServiceLoader; disabled unless {@link #HOSTS} is
 * set.
 */
public final class SameOriginFactory implements InboundChannelHandlerFactory {
    /** The host names that clients use for the API; requests with another Host header are refused. */
    static final ConfigOption<List<String>> HOSTS =
            ConfigOptions.key("sluice.rest.hosts").stringType().asList().noDefaultValue();

    @Override
    public int priority() {
        return 0;
    }

    @Override
    public Optional<ChannelHandler> createHandler(Configuration configuration, Map<String, String> responseHeaders) {
        return configuration.getOptional(HOSTS).map(hosts -> new SameOriginHandler.Installer(List.copyOf(hosts)));
    }
}
