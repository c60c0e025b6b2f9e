import type { SVGAttributes } from "react";
import activity from "tabler:activity";
import alertTriangle from "tabler:alert-triangle";
import arrowDown from "tabler:arrow-down";
import arrowUp from "tabler:arrow-up";
import ban from "tabler:ban";
import baselineDensityMedium from "tabler:baseline-density-medium";
import baselineDensitySmall from "tabler:baseline-density-small";
import bolt from "tabler:bolt";
import book from "tabler:book";
import braces from "tabler:braces";
import check from "tabler:check";
import chevronDown from "tabler:chevron-down";
import chevronLeft from "tabler:chevron-left";
import chevronRight from "tabler:chevron-right";
import circleCheck from "tabler:circle-check";
import circleDashed from "tabler:circle-dashed";
import circleDot from "tabler:circle-dot";
import circleMinus from "tabler:circle-minus";
import circleOff from "tabler:circle-off";
import circleX from "tabler:circle-x";
import copy from "tabler:copy";
import database from "tabler:database";
import delta from "tabler:delta";
import deviceDesktop from "tabler:device-desktop";
import download from "tabler:download";
import file from "tabler:file";
import fileText from "tabler:file-text";
import fileTypePdf from "tabler:file-type-pdf";
import files from "tabler:files";
import folder from "tabler:folder";
import function_ from "tabler:function";
import home from "tabler:home";
import hourglass from "tabler:hourglass";
import infoCircle from "tabler:info-circle";
import link from "tabler:link";
import markdown from "tabler:markdown";
import moon from "tabler:moon";
import package_ from "tabler:package";
import pencil from "tabler:pencil";
import photo from "tabler:photo";
import playerPlay from "tabler:player-play";
import playerStop from "tabler:player-stop";
import point from "tabler:point";
import rotate2 from "tabler:rotate-2";
import search from "tabler:search";
import settings from "tabler:settings";
import stack2 from "tabler:stack-2";
import sun from "tabler:sun";
import table from "tabler:table";
import trash from "tabler:trash";
import world from "tabler:world";
import x from "tabler:x";

export interface IconProps extends Omit<SVGAttributes<SVGSVGElement>, "stroke"> {
  /** Its width and height, in pixels. */
  size?: number;
  /** The width of its lines, in the 24 units across which it is drawn. */
  stroke?: number;
}

export type Icon = (props: IconProps) => React.ReactNode;

/** A drawing by its paths. */
function icon(paths: string): Icon {
  return function Icon({ size = 24, stroke = 2, ...others }: IconProps) {
    return (
      <svg
        width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth={stroke} strokeLinecap="round"
        strokeLinejoin="round" {...others} dangerouslySetInnerHTML={{ __html: paths }}
      />
    );
  };
}

export const IconActivity = icon(activity);
export const IconAlertTriangle = icon(alertTriangle);
export const IconArrowDown = icon(arrowDown);
export const IconArrowUp = icon(arrowUp);
export const IconBan = icon(ban);
export const IconBaselineDensityMedium = icon(baselineDensityMedium);
export const IconBaselineDensitySmall = icon(baselineDensitySmall);
export const IconBolt = icon(bolt);
export const IconBook = icon(book);
export const IconBraces = icon(braces);
export const IconCheck = icon(check);
export const IconChevronDown = icon(chevronDown);
export const IconChevronLeft = icon(chevronLeft);
export const IconChevronRight = icon(chevronRight);
export const IconCircleCheck = icon(circleCheck);
export const IconCircleDashed = icon(circleDashed);
export const IconCircleDot = icon(circleDot);
export const IconCircleMinus = icon(circleMinus);
export const IconCircleOff = icon(circleOff);
export const IconCircleX = icon(circleX);
export const IconCopy = icon(copy);
export const IconDatabase = icon(database);
export const IconDelta = icon(delta);
export const IconDeviceDesktop = icon(deviceDesktop);
export const IconDownload = icon(download);
export const IconFile = icon(file);
export const IconFileText = icon(fileText);
export const IconFileTypePdf = icon(fileTypePdf);
export const IconFiles = icon(files);
export const IconFolder = icon(folder);
export const IconFunction = icon(function_);
export const IconHome = icon(home);
export const IconHourglass = icon(hourglass);
export const IconInfoCircle = icon(infoCircle);
export const IconLink = icon(link);
export const IconMarkdown = icon(markdown);
export const IconMoon = icon(moon);
export const IconPackage = icon(package_);
export const IconPencil = icon(pencil);
export const IconPhoto = icon(photo);
export const IconPlayerPlay = icon(playerPlay);
export const IconPlayerStop = icon(playerStop);
export const IconPoint = icon(point);
export const IconRotate2 = icon(rotate2);
export const IconSearch = icon(search);
export const IconSettings = icon(settings);
export const IconStack2 = icon(stack2);
export const IconSun = icon(sun);
export const IconTable = icon(table);
export const IconTrash = icon(trash);
export const IconWorld = icon(world);
export const IconX = icon(x);
