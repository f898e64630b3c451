// What Grafana's published types say of a dashboard, for JSON: its enums of texts are the texts themselves there.

import type { Dashboard, Panel, RowPanel } from "@grafana/schema";
import type * as bargauge from "@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen.d.ts";
import type * as heatmap from "@grafana/schema/dist/types/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen.d.ts";
import type * as stat from "@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen.d.ts";
import type * as timeline from "@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen.d.ts";
import type * as table from "@grafana/schema/dist/types/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen.d.ts";
import type * as timeseries from "@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.d.ts";

type Plain<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends Array<infer Element>
      ? Array<Plain<Element>>
      : T extends object
        ? { [Key in keyof T]: Plain<T[Key]> }
        : T;

/** A target of the Prometheus data source, which is no part of the package. Everything but `expr` is optional there; here it is not. */
interface Target {
  refId: string;
  datasource: { type: "prometheus"; uid: "${datasource}" };
  editorMode: "code";
  expr: string;
  legendFormat: string;
  instant: boolean;
  range: boolean;
  format?: "time_series" | "table" | "heatmap";
}

type Defaults = NonNullable<Panel["fieldConfig"]>["defaults"];

/** A panel of one kind, with the options and the settings of fields that this kind knows. */
type Of<Kind extends string, Options, Custom> = Omit<Plain<Panel>, "type" | "options" | "fieldConfig" | "targets"> & {
  type: Kind;
  options: Plain<Options>;
  fieldConfig: {
    defaults: Omit<Plain<Defaults>, "custom"> & { custom?: Plain<Partial<Custom>> };
    overrides: Plain<NonNullable<Panel["fieldConfig"]>["overrides"]>;
  };
  targets: Target[];
};

type Known =
  | Of<"timeseries", timeseries.Options, timeseries.FieldConfig>
  | Of<"stat", stat.Options, Record<string, never>>
  | Of<"bargauge", bargauge.Options, Record<string, never>>
  | Of<"table", Partial<table.Options>, table.FieldConfig>
  | Of<"heatmap", heatmap.Options, heatmap.FieldConfig>
  | Of<"state-timeline", timeline.Options, timeline.FieldConfig>;

export type PlainDashboard = Omit<Plain<Dashboard>, "panels"> & { panels: Array<Known | Plain<RowPanel>> };
